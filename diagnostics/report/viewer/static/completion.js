"use strict";
// One completion as a card: its judgement, its tokens coloured, and the terms of its reward.

Rollouts.completion = (() => {
  const { line, write, make, count, number: n } = Rollouts.text;
  const { at, known, drift, advantage, rewards } = Rollouts.explain;
  const PART = 12000; // characters drawn at once; a button draws the next as many

  /** What the tokens can be coloured by: a value for each token and whether it has two sides. */
  const MODES = {
    entropy: { name: "entropy", unit: "nats", value: (c, i) => at(c.entropy, i), low: "decided", high: "undecided" },
    drift: { name: "log-probability drift", unit: "nats", two: true, value: drift, low: "less likely to the trainer", high: "more likely to the trainer" },
    advantage: { name: "advantage", unit: "", two: true, value: advantage, low: "made less likely", high: "made more likely" },
    planning: { name: "planning mask", unit: "", mask: true, value: (c, i) => at(c.planning, i), low: "execution", high: "planning" },
    none: { name: "nothing", value: () => null },
  };

  /** The largest size of a mode over some completions, which its strongest colour stands for; extremes are cut. */
  const largest = (mode, completions) => {
    const sizes = [];
    for (const c of completions) {
      for (let i = 0; i < c.pieces.length; i++) {
        const value = MODES[mode].value(c, i);
        if (known(value)) sizes.push(Math.abs(value));
      }
    }
    sizes.sort((a, b) => a - b);
    return sizes.length ? sizes[Math.min(sizes.length - 1, Math.floor(0.98 * sizes.length))] || sizes[sizes.length - 1] : 0;
  };

  const paint = (token, mode, c, i, most) => {
    const value = MODES[mode].value(c, i), found = known(value) && most > 0;
    token.classList.toggle("plan", mode === "planning" && Boolean(value));
    token.classList.toggle("cold", found && Boolean(MODES[mode].two) && value < 0);
    token.classList.toggle("hot", found && !MODES[mode].mask && !(MODES[mode].two && value < 0));
    token.classList.toggle("unmasked", at(c.loss_mask, i) === 0);
    const strength = found && !MODES[mode].mask ? Math.min(1, Math.abs(value) / most) : 0;
    token.style.setProperty("--strength", strength.toFixed(3));
  };

  const legend = (mode, most) => {
    const { name, unit, two, mask, low, high } = MODES[mode];
    if (mode === "none") return make("div", { class: "legend" });
    if (mask) {
      return make("div", { class: "legend" }, make("b", {}, name), make("span", {}, low), make("span", { class: "token plan" }, high));
    }
    if (!most) return make("div", { class: "legend" }, make("b", {}, name), make("span", {}, "not recorded for these completions, or 0 on every token"));
    const end = (value) => `${n(Number(value.toPrecision(2)))} ${unit}`.trim();
    const bar = make("span", { class: two ? "bar two" : "bar", "aria-hidden": "true" });
    return make("div", { class: "legend" }, make("b", {}, name),
      make("span", {}, `${two ? end(-most) : "0"}, ${low}`), bar, make("span", {}, `${end(most)}, ${high}`));
  };

  const verdict = (c) => {
    if (c.error) return make("span", { class: "verdict failed" }, "not judged");
    if (!known(c.outcome)) return make("span", { class: "verdict" }, "no outcome");
    const word = c.outcome >= 0.5 ? "right" : "wrong";
    return make("span", { class: `verdict ${word}` }, c.outcome === 0 || c.outcome === 1 ? word : `outcome ${n(c.outcome)}`);
  };

  const judgement = (settings, c) => {
    const rows = rewards(settings, c).map((r) => make("tr", {},
      make("td", {}, line(r.name), r.role ? make("small", {}, ` ${r.role}`) : null),
      make("td", {}, known(r.value) ? n(r.value) : "does not apply"),
      make("td", {}, known(r.share) ? `\u00d7 ${n(r.weight)} = ${n(r.share)}` : ""),
      make("td", {}, r.parts.map(([name, value]) => `${line(name)} ${n(value)}`).join(", ") || "no named parts")));
    const head = ["reward", "value", "share", "reached by"].map((name) => make("th", { scope: "col" }, name));
    const error = c.error ? make("pre", { class: "error", tabindex: "0" }) : null;
    if (error) write(error, c.error);
    const table = make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
    const sampled = [`engine ${line(c.engine ?? "unknown", 60)}`, `version ${c.policy_version ?? "unknown"}`, `weights ${line(c.weight_digest ?? "unknown", 20)}`];
    return make("details", {}, make("summary", {}, `reward ${n(c.reward)}: how it was reached`), table, error,
      make("p", { class: "soft" }, sampled.join(" \u00b7 ")));
  };

  /** A cut text without half of a letter that JavaScript counts as two. */
  const whole16 = (text) => (text.length > 1 && /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text);

  /** Draws the tokens from (token, character) on, a part at a time; a button goes on, or says where the rest is. */
  const fill = (box, foot, c, from, draw, whole) => {
    let [i, skip] = from, left = PART;
    for (; i < c.pieces.length && left > 0; i++, skip = 0) {
      const piece = whole16(c.pieces[i].slice(skip, skip + left)), token = make("span", { class: "token", "data-i": i });
      write(token, piece);
      draw(token, i);
      box.append(token);
      left -= Math.max(1, piece.length);
      if (skip + piece.length < c.pieces[i].length) { skip += piece.length; break; }
    }
    const sent = c.pieces.reduce((sum, piece) => sum + piece.length, 0), points = [...c.pieces.join("")].length;
    const shown = c.pieces.slice(0, i).reduce((sum, piece) => sum + piece.length, 0) + (i < c.pieces.length ? skip : 0);
    const more = shown < sent, missing = points < c.characters;
    foot.replaceChildren();
    if (more) {
      const next = make("button", { type: "button", onclick: () => fill(box, foot, c, [i, skip], draw, whole) }, `show the next ${count(Math.min(PART, sent - shown), "character")}`);
      foot.append(`${shown.toLocaleString("en")} of ${count(c.characters, "character")} are shown. `, next);
    } else if (missing) {
      foot.append(`${points.toLocaleString("en")} of ${count(c.characters, "character")} are shown. `, whole(c));
    }
  };

  /** The card. `view`: mode, most, settings; `hooks`: point(card, i), choose(card), compare(card, on), whole(c). */
  const card = (c, view, hooks) => {
    const box = make("div", { class: "text", tabindex: "0", role: "group", dir: "auto", "aria-label": `text of completion ${c.place}; arrow keys move from token to token` });
    const foot = make("p", { class: "rest soft" });
    const tick = make("input", { type: "checkbox", onchange: () => hooks.compare(made, tick.checked) });
    const facts = [`reward ${n(c.reward)}`, known(c.advantage) ? `advantage ${n(c.advantage)}` : "not trained on", count(c.tokens, "token"), c.format && line(c.format, 40), c.finish_reason === "length" ? "cut off at the limit" : null];
    const article = make("article", { class: "completion" },
      make("header", {}, make("b", {}, `#${c.place}`), verdict(c), make("label", { class: "soft" }, tick, " compare"),
        make("span", { class: "soft facts" }, facts.filter(Boolean).join(" \u00b7 "))),
      box, foot, judgement(view.settings, c));
    const made = { c, article, box, tick, at: -1 };
    fill(box, foot, c, [0, 0], (token, i) => paint(token, view.mode, c, i, view.most), hooks.whole);
    // A pointer that rests while the page scrolls is "over" one token after another; only one that moves points.
    box.addEventListener("pointermove", (event) => {
      const token = event.target.closest(".token");
      if (token && !token.classList.contains("at")) hooks.point(made, Number(token.dataset.i));
    });
    box.addEventListener("focus", () => hooks.point(made, Math.max(0, made.at)));
    box.addEventListener("keydown", (event) => {
      const to = { ArrowRight: made.at + 1, ArrowLeft: made.at - 1, Home: 0, End: c.pieces.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      hooks.point(made, Math.max(0, Math.min(c.pieces.length - 1, to)), true);
    });
    article.addEventListener("click", () => hooks.choose(made));
    return made;
  };

  const recolour = (made, mode, most) => {
    for (const token of made.box.querySelectorAll(".token")) paint(token, mode, made.c, Number(token.dataset.i), most);
  };

  return { MODES, largest, legend, card, recolour };
})();
