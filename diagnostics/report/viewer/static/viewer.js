"use strict";
// The rollouts of a run: a step, a group side by side, a token's arithmetic, two texts compared, a prompt over time.

Rollouts.viewer = (() => {
  const { line, write, make, count, number: n } = Rollouts.text;
  const { known } = Rollouts.explain;
  const { MODES, largest, legend, card, recolour } = Rollouts.completion;
  const ORDERS = { worst: "Worst", best: "Best", lucky: "Lucky hit", random: "Random" };

  /**
   * Draws into `root`. `source` gives what it shows: `steps` (numbers), `settings`, and, each a promise, `step(step)`,
   * `group(step, group)`, `history(key)`; `whole(step, completion)` is an element that leads to a text that is cut.
   * `moved(state)` hears where the person is. Returns `show({step, group, row, pick, still})`, `steps(list)` and `state()`.
   */
  const viewer = (root, source, moved = () => {}) => {
    const state = { step: null, group: null, pick: null, place: 0, mode: "entropy" };
    let outline = null, cards = [], shown = null, marked = null, steps = source.steps, asked = 0;

    const said = make("p", { class: "soft said", role: "status" });
    const stepBox = make("select", { id: "rollout-step", onchange: () => show({ step: Number(stepBox.value) }) });
    const groupBox = make("select", { id: "rollout-group", onchange: () => show({ step: state.step, group: outline.groups[groupBox.value].group }) });
    const modeBox = make("select", { id: "rollout-colour", onchange: () => colour(modeBox.value) },
      Object.entries(MODES).map(([name, mode]) => make("option", { value: name }, mode.name)));
    const picks = Object.entries(ORDERS).map(([name, title]) => make("button", { type: "button", "data-pick": name, "aria-pressed": "false", onclick: () => next(name) }, title));
    const back = make("button", { type: "button", "aria-label": "step before", onclick: () => move(-1) }, "\u25c0");
    const ahead = make("button", { type: "button", "aria-label": "step after", onclick: () => move(1) }, "\u25b6");
    const key = make("div"), task = make("div", { class: "task" }), columns = make("div", { class: "columns" });
    const sums = make("div", { class: "sums", role: "region", tabindex: "0", "aria-live": "polite", "aria-label": "how a token's advantage is made up" });
    const compared = make("div", { class: "compared" }), times = make("details", { class: "times" });
    root.replaceChildren(make("div", { class: "rollouts" },
      make("div", { class: "controls" },
        make("span", { class: "together" }, make("label", { for: "rollout-step" }, "Step"), back, stepBox, ahead),
        make("span", { class: "together" }, picks),
        make("span", { class: "together grows" }, make("label", { for: "rollout-group" }, "Prompt"), groupBox),
        make("span", { class: "together" }, make("label", { for: "rollout-colour" }, "Colour tokens by"), modeBox)),
      said, key, task, columns, compared, times, sums));

    const hint = () => sums.replaceChildren(make("p", { class: "soft" }, "Point at a token, or move with the arrow keys inside a text, to see how its advantage is made up."));

    const listSteps = (list) => {
      steps = list;
      stepBox.replaceChildren(...steps.map((step) => make("option", { value: step }, String(step))));
      if (state.step !== null) stepBox.value = state.step;
      back.disabled = steps.indexOf(state.step) <= 0;
      ahead.disabled = steps.indexOf(state.step) >= steps.length - 1;
    };
    /** The step itself, or the one whose completions are the next to it; the last one where none is asked for. */
    const nearest = (step) => (Number.isFinite(step) ? steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best), steps[0]) : steps[steps.length - 1]);
    const move = (by) => show({ step: steps[steps.indexOf(state.step) + by], pick: state.pick });

    /** Groups of a step in the file's order, with their rows. */
    const gathered = (rows) => {
      const found = new Map();
      for (const row of rows) {
        if (!found.has(row.group)) found.set(row.group, { group: row.group, task_key: row.task_key, source: row.source, rows: [] });
        found.get(row.group).rows.push(row);
      }
      return [...found.values()];
    };
    const right = (rows) => {
      const judged = rows.filter((row) => known(row.outcome));
      return judged.length ? `${judged.filter((row) => row.outcome >= 0.5).length} of ${judged.length} right` : "no outcome";
    };

    const show = async ({ step, group, row, pick, still = false }) => {
      const mine = ++asked;
      const wanted = step, away = Number.isFinite(wanted) && !steps.includes(wanted);
      step = nearest(wanted);
      if (step === undefined) return void (said.textContent = "This run has no rollouts: none were written yet, or its folder of them is missing.");
      try {
        if (outline?.step !== step) {
          [state.step, outline] = [step, null];
          const found = await source.step(step);
          if (mine !== asked) return;
          outline = { ...found, groups: gathered(found.rows) };
        }
        Object.assign(state, { step, pick: pick ?? null, place: 0 });
        listSteps(steps);
        groupBox.replaceChildren(...outline.groups.map((each, i) => make("option", { value: i }, `${line(each.task_key ?? "prompt", 60)}: ${right(each.rows)}`)));
        const order = pick && outline.orders[pick].length ? outline.orders[pick] : null, none = pick && !order && outline.rows.length > 0;
        const lacking = `Step ${step} has no ${ORDERS[pick]?.toLowerCase()}: no success that is the only one of a group of eight or more.`;
        if (none && shown?.step === step) return void (said.textContent = lacking);
        const aim = order ? outline.rows[order[0]] : outline.rows.find((each) => each.row === row && !away) ?? outline.rows.find((each) => each.group === group) ?? outline.rows[0];
        await open(aim, mine, Boolean(order) || (row !== undefined && !away), still);
        if (mine !== asked) return;
        const told = [away && `Step ${wanted} has no completions; these are of step ${step}.`, none && `${lacking} Its first prompt is shown.`, said.textContent];
        said.textContent = told.filter(Boolean).join(" ");
      } catch (error) {
        if (mine === asked) failed(error);
      }
    };
    const failed = (error) => {
      if (!outline) clear();
      said.textContent = `Step ${state.step ?? ""} cannot be shown: ${line(error.message, 300)}`;
    };
    /** Takes away what stands there: it is another step's. */
    const clear = () => {
      [shown, cards] = [null, []];
      for (const each of [groupBox, key, task, columns, compared]) each.replaceChildren();
      hint();
      listSteps(steps);
    };

    /** The next completion of an order: the worst, then the next worst. */
    const next = async (pick) => {
      if (state.pick !== pick || !outline?.orders[pick].length) return show({ step: state.step, pick });
      state.place = (state.place + 1) % outline.orders[pick].length;
      await open(outline.rows[outline.orders[pick][state.place]], ++asked, true).catch(failed);
    };

    const open = async (aim, mine, chosen, still = false) => {
      if (!aim) {
        clear();
        return void (said.textContent = `Step ${state.step} has no completions.`);
      }
      const found = await source.group(state.step, aim.group);
      if (mine !== asked) return;
      [shown, state.group, marked] = [found, aim.group, null];
      groupBox.value = outline.groups.findIndex((each) => each.group === aim.group);
      for (const button of picks) button.setAttribute("aria-pressed", String(button.dataset.pick === state.pick));
      const all = outline.groups.find((each) => each.group === aim.group).rows;
      shown.completions.forEach((c) => { c.place = all.findIndex((row) => row.row === c.row) + 1; });
      draw();
      const order = outline.orders[state.pick]?.length ? outline.orders[state.pick] : null;
      const whole = outline.of > outline.rows.length ? ` This page holds ${outline.rows.length} of the step's ${count(outline.of, "completion")}.` : "";
      said.textContent = (order ? `${ORDERS[state.pick]}: ${state.place + 1} of ${order.length}; press again for the next.` : "") + whole;
      const target = cards.find((each) => each.c.row === aim.row);
      if (chosen && target) choose(target);
      if (order && !still) target?.article.scrollIntoView({ block: "nearest", inline: "nearest" });
      moved({ ...state, row: chosen ? aim.row : null });
    };

    const draw = () => {
      const view = { mode: state.mode, most: largest(state.mode, shown.completions), settings: source.settings };
      const hooks = { point, choose, compare, whole: (c) => source.whole(state.step, c) };
      cards = shown.completions.map((c) => card(c, view, hooks));
      columns.replaceChildren(...cards.map((each) => each.article));
      key.replaceChildren(legend(state.mode, view.most));
      compared.replaceChildren();
      drawTask();
      hint();
    };

    const colour = (mode) => {
      state.mode = modeBox.value = mode;
      if (!shown) return;
      const most = largest(mode, shown.completions);
      key.replaceChildren(legend(mode, most));
      for (const each of cards) recolour(each, mode, most);
      moved({ ...state });
    };

    const drawTask = () => {
      const given = shown.task, parts = given.prompt.map((message) => {
        const text = make("div", { class: "message" });
        write(text, message.content.slice(0, 4000));
        if (message.content.length > 4000) text.append(` \u2026 (${count(message.content.length, "character")})`);
        return make("div", {}, message.role ? make("b", {}, `${line(message.role, 30)} `) : null, text);
      });
      const facts = [given.source && `source ${line(given.source, 40)}`, given.kind && line(given.kind, 40), given.answer !== null && `answer ${line(String(given.answer), 200)}`];
      if (!given.admitted && given.admitted !== null) facts.push(`not trained on: ${line(given.reject_reason ?? "no reason", 100)}`);
      task.replaceChildren(make("p", { class: "soft" }, [line(given.task_key ?? "", 80), ...facts].filter(Boolean).join(" \u00b7 ")), ...parts);
      drawTimes(given.task_key);
    };

    const drawTimes = (prompt) => {
      const list = make("ol", { class: "visits", tabindex: "0" }), more = make("p", { class: "soft" });
      const fresh = make("details", { class: "times", ontoggle: async () => {
        const group = shown;
        for (let again = fresh.open; again;) {
          const found = await source.history(prompt).catch(failed);
          if (group !== shown || !found) return;
          list.replaceChildren(...found.visits.map(visit));
          more.textContent = `${count(found.visits.length, "visit")} in the ${found.known.toLocaleString("en")} of ${count(found.of, "step")} looked through.`;
          again = found.growing && fresh.open;
        }
      } }, make("summary", {}, "The same prompt over training"), more, list);
      root.querySelector(".times").replaceWith(fresh);
    };
    const visit = (found) => {
      const told = known(found.successes) ? `${found.successes} of ${found.completions} right` : `reward ${n(found.reward)}`;
      const share = make("span", { class: "share", "aria-hidden": "true" });
      share.style.setProperty("--share", found.outcome ?? 0);
      const here = found.step === state.step && found.group === state.group;
      const words = `step ${found.step}: ${told}${here ? ", shown above" : ""}`;
      const open = steps.includes(found.step) && !found.away && !here;
      return make("li", {}, open ? make("button", { type: "button", onclick: () => show({ step: found.step, group: found.group }) }, words) : words, share);
    };

    const choose = (target) => {
      for (const each of cards) each.article.classList.toggle("chosen", each === target);
    };

    const compare = (target, on) => {
      const ticked = cards.filter((each) => each.tick.checked);
      if (on && ticked.length > 2) ticked.find((each) => each !== target).tick.checked = false;
      const two = cards.filter((each) => each.tick.checked);
      if (two.length < 2) return compared.replaceChildren(two.length ? make("p", { class: "soft" }, "Tick a second completion to compare the two.") : "");
      const [left, right] = two.map((each) => each.c), found = Rollouts.diff.parts(left.pieces.join(""), right.pieces.join(""));
      const text = make("div", { class: "text", tabindex: "0", role: "group", "aria-label": "the two texts compared" });
      for (const [kind, part] of found.parts) {
        const piece = make({ both: "span", left: "del", right: "ins" }[kind]);
        write(piece, part);
        text.append(piece);
      }
      compared.replaceChildren(make("h3", {}, `#${left.place} against #${right.place}`),
        make("p", { class: "soft" }, make("del", {}, `only in #${left.place}`), " ", make("ins", {}, `only in #${right.place}`), found.cut ? " The texts are long: their beginnings are compared." : ""), text);
      compared.scrollIntoView({ block: "center" }); // it stands below the group, out of sight of what was ticked
    };

    const point = (target, i, follow = false) => {
      marked?.classList.remove("at");
      for (const each of cards) if (each !== target) each.at = -1;
      target.at = i;
      marked = target.box.querySelector(`.token[data-i="${i}"]`);
      marked?.classList.add("at");
      if (follow) marked?.scrollIntoView({ block: "nearest" });
      explain(target.c, i, Rollouts.explain.rows(source.settings, target.c, i, shown.mean));
    };

    const explain = (c, i, rows) => {
      const piece = make("code");
      write(piece, (c.pieces[i] ?? "").slice(0, 60));
      const at = (name) => Rollouts.explain.at(c[name], i), facts = [
        `entropy ${n(at("entropy"))} nats`, `log-probability ${n(at("logprob"))} sampler, ${n(at("train_logprob"))} trainer`,
        at("planning") ? "planning" : "execution",
      ];
      const head = make("p", {}, make("b", {}, `#${c.place}, token ${i + 1} of ${c.tokens} `), piece, make("span", { class: "soft" }, ` ${facts.join(" \u00b7 ")}`));
      if (!rows) return sums.replaceChildren(head, make("p", { class: "soft" }, "This completion was not trained on: it has no advantage."));
      const body = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name), make("td", {}, line(row.sum, 300)), make("td", { class: "value" }, `= ${n(row.value)}`), make("td", { class: "soft" }, row.note)));
      sums.replaceChildren(head, make("table", {}, make("tbody", {}, body)));
    };

    modeBox.value = state.mode;
    listSteps(steps);
    hint();
    /** What is there now: a resumed run takes steps back, and makes them anew. */
    const follow = (list) => {
      listSteps(list);
      if (outline && !list.includes(outline.step)) show({ step: outline.step });
    };
    return { show, steps: follow, state: () => ({ ...state }), colour };
  };

  return viewer;
})();

/** The viewer over what a page holds: `runs` as `embed.py` writes them. */
Rollouts.embedded = (root, runs) => {
  const { make, line } = Rollouts.text;
  if (!runs.length) return void root.replaceChildren(make("p", {}, "No rollouts in the files."));
  const open = (run) => {
    const found = new Map(run.steps.map((step) => [step.step, step]));
    const there = (visit) => ({ ...visit, away: !(`${visit.step}/${visit.group}` in run.groups) });
    const view = Rollouts.viewer(place, {
      settings: run.settings,
      steps: [...found.keys()],
      step: async (step) => found.get(step),
      group: async (step, group) => run.groups[`${step}/${group}`],
      history: async (key) => ({ visits: (run.histories[key] ?? []).map(there), known: run.looked, of: run.of, growing: false }),
      whole: (step, c) => make("span", {}, `The rest is in rollouts/step_${String(step).padStart(5, "0")}.parquet, row ${c.row}; rltrain dashboard opens it.`),
    });
    view.show({ pick: "worst", still: true }); // the page stays where its reader is
    notes.replaceChildren(...run.notes.map((words) => make("p", { class: "soft" }, line(words, 400))));
  };
  const place = make("div"), notes = make("div");
  const choice = make("select", { id: "rollout-run", onchange: () => open(runs[choice.value]) }, runs.map((run, i) => make("option", { value: i }, line(run.run, 80))));
  root.replaceChildren(runs.length > 1 ? make("p", {}, make("label", { for: "rollout-run" }, "Run "), choice) : "", place, notes);
  open(runs[0]);
};
