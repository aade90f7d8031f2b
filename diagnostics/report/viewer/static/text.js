"use strict";
// Text out of a run, always as text: set as text nodes, never read as HTML. What an eye cannot see is spelt out.

const Rollouts = {};

Rollouts.text = (() => {
  // Controls, direction marks and other formats, line and paragraph separators, lone surrogates, private use.
  const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u;
  const around = new RegExp(`(${hidden.source})`, "u");

  const named = (letter) => {
    const code = letter.codePointAt(0);
    if (code === 0x7f) return "\u2421";
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  };

  // Letters that run from right to left: without Unicode's isolating marks they would reorder the words around them.
  const leftwards = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

  /** Words of the report itself, cut; what they hold of a run is spelt out and kept apart already. */
  const words = (text, most = Infinity) => (text.length > most ? `${text.slice(0, most - 1)}\u2026` : text);

  /** A text as one line for labels and lists: what is hidden by its name, line ends as a sign, kept apart. */
  const line = (text, most = Infinity) => {
    const seen = words(text, most).replace(new RegExp(hidden.source, "gu"), (letter) => (letter === "\n" ? "\u21b5" : named(letter)));
    return leftwards.test(seen) ? `\u2068${seen}\u2069` : seen;
  };

  /** Adds a text to an element: what is hidden as a mark with its name, line ends as a sign and a line end. */
  const write = (element, text) => {
    if (!hidden.test(text)) return void element.append(text);
    for (const part of text.split(around)) {
      if (!hidden.test(part)) {
        if (part) element.append(part);
        continue;
      }
      const mark = document.createElement("span");
      mark.className = "hidden-letter";
      mark.textContent = part === "\n" ? "\u21b5" : part === "\t" ? "\u2192" : named(part);
      element.append(mark);
      if (part === "\n" || part === "\t") element.append(part);
    }
  };

  /** An element with properties and children; children that are strings become text. */
  const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  /** A number with five digits and a true minus. */
  const number = (value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "none";
    return String(Number(value.toPrecision(5))).replace("-", "\u2212");
  };

  return { line, words, write, make, count, number };
})();
