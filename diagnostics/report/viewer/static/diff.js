"use strict";
// Two texts word by word: what both have, what only one has. The longest common subsequence of their words.

Rollouts.diff = (() => {
  const MOST = 2500; // words of each text between their common start and end; the table has their product
  const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

  /** Parts [kind, text] in order, kind "both", "left" or "right"; `cut` where a text is longer than can be compared. */
  const parts = (left, right) => {
    let [a, b] = [words(left), words(right)];
    let start = 0, end = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start++;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
    const [head, tail] = [a.slice(0, start), a.slice(a.length - end)];
    [a, b] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
    const cut = a.length > MOST || b.length > MOST;
    if (cut) [a, b] = [a.slice(0, MOST), b.slice(0, MOST)];
    const found = [["both", head.join("")], ...between(a, b), ...(cut ? [] : [["both", tail.join("")]])];
    return { parts: joined(found.filter(([, text]) => text)), cut };
  };

  const between = (a, b) => {
    const width = b.length + 1, table = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        const place = i * width + j;
        table[place] = a[i] === b[j] ? table[place + width + 1] + 1 : Math.max(table[place + width], table[place + 1]);
      }
    }
    const found = [];
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      const place = i * width + j;
      if (i < a.length && j < b.length && a[i] === b[j]) { found.push(["both", a[i]]); i++; j++; }
      else if (j >= b.length || (i < a.length && table[place + width] >= table[place + 1])) found.push(["left", a[i++]]);
      else found.push(["right", b[j++]]);
    }
    return found;
  };

  const joined = (found) => {
    const made = [];
    for (const [kind, text] of found) {
      if (made.length && made[made.length - 1][0] === kind) made[made.length - 1][1] += text;
      else made.push([kind, text]);
    }
    return made;
  };

  return { parts };
})();
