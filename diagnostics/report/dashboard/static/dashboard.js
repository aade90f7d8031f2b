"use strict";
// The dashboard: the list of runs, the pictures of one, its rollouts. All of it follows the files.

(() => {
  const { line, words, make, count, number: n } = Rollouts.text;
  const VIEWS = JSON.parse(document.getElementById("views").textContent);
  const [side, head, tabs, summary, cardsBox, eventsBox, rolloutsBox, status] = ["runs", "head", "tabs", "summary", "cards", "events", "rollouts", "line"].map((id) => document.getElementById(id));
  const [axis, absent] = ["axis", "absent"].map((id) => document.getElementById(id));
  const here = { run: null, tab: "pictures", step: null, row: null, pick: null, beside: new Set() };
  let runs = [], news = null, stream = null, viewer = null, about = null, generation = 0;

  const address = (name, rest = "") => `/api/run/${encodeURIComponent(name)}${rest}`;
  const ask = async (url, as = "json") => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 400) || `the server answered ${answer.status}`);
    return answer[as]();
  };
  const failed = (error) => { status.textContent = line(`${error.message}`, 300); };

  // --- where one is: in the address, so that it can be kept and sent -------------------------------------------

  const link = (change) => {
    const kept = { run: here.run, tab: here.tab, step: here.step, row: here.row, ...change };
    return `#${new URLSearchParams(Object.entries(kept).filter(([, value]) => value !== null && value !== undefined))}`;
  };
  const follow = async () => {
    const given = new URLSearchParams(location.hash.slice(1)), number = (name) => (given.has(name) ? Number(given.get(name)) : null);
    const wanted = given.get("run"), there = runs.some((each) => each.name === wanted), run = there ? wanted : runs[0]?.name;
    const lost = wanted !== null && !there && runs.length > 0; // the step and the row are the other run's
    const target = { tab: given.get("tab") === "rollouts" ? "rollouts" : "pictures", step: lost ? null : number("step"), row: lost ? null : number("row"), pick: given.get("pick") };
    absent.textContent = lost ? `There is no run ${line(wanted, 80)} here; this is ${line(run, 80)}.` : "";
    absent.hidden = !lost;
    const moved = target.step !== here.step || target.row !== here.row || target.pick;
    Object.assign(here, target);
    if (run !== undefined && run !== here.run) openRun(run);
    drawTabs();
    if (here.tab === "rollouts" && (moved || !viewer)) openRollouts();
  };

  // --- the list of runs ------------------------------------------------------------------------------------------

  const progress = (run) => (run.step === null ? "no step yet" : run.planned ? `step ${run.step} of ${run.planned}` : `step ${run.step}`);
  const listRuns = async () => {
    runs = await ask("/api/runs");
    const gone = [...here.beside].filter((name) => !runs.some((run) => run.name === name)); // it has no tick any more
    for (const name of gone) here.beside.delete(name);
    if (gone.length) redraw();
    const focused = document.activeElement?.dataset?.key;
    side.replaceChildren(...runs.map((run) => {
      const open = run.name === here.run, bar = make("span");
      bar.style.setProperty("--share", run.planned ? Math.min(1, (run.step ?? 0) / run.planned) : 0);
      const box = make("input", { type: "checkbox", "data-key": `with ${run.name}`, "aria-label": `draw ${line(run.name)} beside`, disabled: open, checked: here.beside.has(run.name), onchange: () => {
        if (box.checked) here.beside.add(run.name); else here.beside.delete(run.name);
        redraw();
      } });
      const facts = [progress(run), run.outcome !== null ? `outcome ${n(Number(run.outcome.toPrecision(3)))}` : null, run.errors ? count(run.errors, "error") : null, run.warnings ? count(run.warnings, "warning") : null];
      return make("div", { class: open ? "run open" : "run" }, box,
        make("a", { href: `#${new URLSearchParams({ run: run.name })}`, "aria-current": open && "page", "data-key": run.name }, line(run.name, 80)),
        make("div", { class: "progress", "aria-hidden": "true" }, bar),
        make("div", { class: "soft" }, make("span", { class: `state ${run.state}` }, run.state), ` \u00b7 ${facts.filter(Boolean).join(" \u00b7 ")}`));
    }));
    const mine = runs.find((run) => run.name === here.run); // a run that ends without a word sends no news
    if (mine && news && mine.written >= news.written) drawHead(mine);
    if (!runs.length) side.replaceChildren(make("p", { class: "soft" }, "No run here yet: this page looks again by itself."));
    if (focused) [...side.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
  };
  /** Whether the run of the address, missed before, is there now. */
  const arrived = () => !absent.hidden && runs.some((run) => run.name === new URLSearchParams(location.hash.slice(1)).get("run"));
  const watch = async () => {
    const before = runs.length;
    try {
      if (!document.hidden || !runs.length) await listRuns();
      if ((!before && runs.length) || arrived()) await follow();
      again();
    } catch (error) { failed(error); }
    setTimeout(watch, 4000);
  };

  // --- one run ---------------------------------------------------------------------------------------------------

  const openRun = (name) => {
    Object.assign(here, { run: name });
    here.beside.delete(name);
    [news, about, viewer] = [null, null, null];
    stream?.close();
    summary.replaceChildren();
    eventsBox.hidden = true;
    rolloutsBox.replaceChildren();
    cardsBox.replaceChildren();
    drawHead(runs.find((run) => run.name === name));
    layOut(VIEWS.map((view) => ({ ...view, terms: [], samples: {}, missing: [], detail: false })), ++generation);
    listen();
    if (document.hidden) stream.close();
    document.title = `${line(name, 60)} \u00b7 rltrain`;
    listRuns().catch(failed);
  };

  /** News of the open run. Only a page that is seen holds a line: a browser gives all its tabs six of them together. */
  const listen = () => {
    const mine = stream = new EventSource(address(here.run, "/follow"));
    mine.addEventListener("news", (event) => { status.textContent = ""; hear(JSON.parse(event.data)); });
    mine.addEventListener("gone", (event) => { mine.close(); stream = null; status.textContent = line(JSON.parse(event.data).words); });
    mine.onerror = () => { status.textContent = "The connection is lost; trying again."; };
  };
  /** After a run had gone, or a server had refused the line: nobody has to reload the page. */
  const again = () => {
    if (document.hidden || !runs.some((run) => run.name === here.run)) return;
    if (stream) return void (stream.readyState === EventSource.CLOSED && listen());
    openRun(here.run);
    if (here.tab === "rollouts") openRollouts();
  };
  const seenOrNot = () => {
    stream?.close();
    if (stream && !document.hidden) listen();
  };

  const drawHead = (run) => {
    if (!run) return;
    const written = run.written ? new Date(run.written * 1000).toLocaleTimeString() : "never";
    head.replaceChildren(make("h2", {}, line(here.run, 120)), make("span", { class: `state ${run.state}` }, run.state),
      make("span", { class: "soft", id: "step" }, `${progress(run)} \u00b7 last written ${written}`));
    tabs.hidden = false;
  };
  const drawTabs = () => {
    const tab = (name, title) => make("a", { href: link({ tab: name, step: null, row: null }), "aria-current": here.tab === name && "page" }, title);
    const quick = Object.entries({ worst: "worst", best: "best", random: "random" }).map(([pick, title]) => make("a", { href: link({ tab: "rollouts", step: null, row: null, pick }) }, title));
    tabs.replaceChildren(tab("pictures", "Pictures"), tab("rollouts", "Rollouts"), make("span", { class: "last" }, make("span", { class: "soft" }, "completion of the last step:"), ...quick));
    document.getElementById("pictures").hidden = here.tab !== "pictures";
    rolloutsBox.hidden = here.tab !== "rollouts";
  };

  /** Something was written: say so at once, then read on what is in view. */
  const hear = async (now) => {
    const mine = generation;
    news = now;
    drawHead(now);
    viewer?.steps(now.steps);
    for (const each of cardsBox.children) each.classList.add("stale");
    drawVisible();
    try {
      const [told, listed] = await Promise.all([ask(address(here.run)), ask(address(here.run, cardQuery()))]);
      if (mine !== generation) return;
      about = told;
      drawSummary();
      drawEvents();
      layOut(listed, mine);
    } catch (error) { failed(error); }
  };

  const drawSummary = () => {
    const item = (each) => make("li", {}, words(each, 600));
    const part = (kind, title, listed) => make("div", { class: `answer ${kind}` }, make("h3", {}, title), make("ul", {}, listed.map(item)));
    const { phase, wrong, todo, missing } = about.verdict, open = Boolean(summary.querySelector("details")?.open);
    const answers = [part("phase", "What phase", [phase]), part("wrong", "What is wrong", wrong), part("todo", "What to do next", todo)];
    if (missing.length) answers.push(part("absent", "What is missing", missing));
    summary.replaceChildren(make("div", { class: "answers" }, answers),
      make("details", { open }, make("summary", {}, "What happened"), make("ul", {}, about.sentences.map(item))));
  };
  const drawEvents = () => {
    const head = make("tr", {}, ["step", "severity", "event", "evidence", "advice"].map((name) => make("th", { scope: "col" }, name)));
    const rows = [...about.events].reverse().map((event) => make("tr", { class: event.severity }, make("td", {}, String(event.step)), make("td", {}, event.severity), make("td", {}, line(event.name, 80)), make("td", {}, make("code", {}, line(JSON.stringify(event.evidence), 400))), make("td", {}, line(event.advice, 400))));
    const earlier = about.more_events ? make("p", {}, `${count(about.more_events, "earlier event")} in events.jsonl.`) : null;
    eventsBox.replaceChildren(make("h3", {}, "Events"), ...(rows.length ? [make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows)))] : [make("p", {}, "None so far.")]), ...(earlier ? [earlier] : []));
    eventsBox.hidden = false;
  };

  // --- pictures: laid out first, drawn when they come into view -------------------------------------------------

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.target.inView = entry.isIntersecting;
    drawVisible();
  }, { rootMargin: "300px" });

  const cardQuery = (only = []) => {
    const given = new URLSearchParams({ x: axis.value });
    for (const name of here.beside) given.append("with", name);
    for (const anchor of only) given.append("only", anchor);
    return `/cards?${given}`;
  };

  /** The cards in their order; one that is there stays, with its picture, and gets its words anew. */
  const layOut = (listed, mine) => {
    if (mine !== generation) return;
    const there = new Map([...cardsBox.children].map((box) => [box.id, box]));
    const wanted = listed.map((given) => {
      const box = there.get(`card-${given.anchor}`) ?? blank(given.anchor);
      const [title, read, lies, , more] = box.children;
      title.textContent = given.title;
      read.textContent = given.how_to_read;
      lies.textContent = given.lies ? `When it lies. ${given.lies}` : "";
      box.classList.toggle("detail", given.detail);
      const terms = given.terms.flatMap((term) => [make("dt", {}, make("code", {}, term.stem), " ", make("small", { class: "soft" }, term.unit)), make("dd", {}, `${term.meaning} ${term.reading}`, term.lies ? make("i", {}, ` Lies: ${term.lies}`) : null, given.samples[term.stem] ? make("span", {}, ` Rests on: ${given.samples[term.stem]}.`) : null, make("small", { class: "soft" }, ` = ${term.formula}; ${term.source}`))]);
      const missing = given.missing.map((each) => make("p", {}, words(each, 400)));
      more.replaceChildren(make("summary", {}, `What is shown${missing.length ? ", and what this run does not have" : ""}`), make("dl", {}, terms), ...missing);
      more.hidden = !terms.length && !missing.length;
      return box;
    });
    for (const [id, box] of there) if (!wanted.some((each) => each.id === id)) { seen.unobserve(box); box.remove(); }
    wanted.forEach((box, i) => { if (cardsBox.children[i] !== box) cardsBox.insertBefore(box, cardsBox.children[i] ?? null); });
  };
  const blank = (anchor) => {
    const box = make("section", { class: "card stale", id: `card-${anchor}` }, make("h3"), make("p"), make("p", { class: "lies" }), make("div", { class: "plots waiting" }), make("details"));
    box.anchor = anchor;
    seen.observe(box);
    return box;
  };

  /** Fetches the stale cards in view, one after another, so that the first is there soon. */
  let busy = false;
  const drawVisible = async () => {
    document.body.classList.toggle("several", here.beside.size > 0);
    if (busy || here.tab !== "pictures") return;
    busy = true;
    try {
      for (let box; (box = [...cardsBox.children].find((each) => each.inView && each.classList.contains("stale"))); ) {
        const mine = generation, name = here.run;
        box.classList.remove("stale");
        const listed = await ask(address(name, cardQuery([box.anchor])));
        await plotlyReady;
        const found = listed.find((each) => each.anchor === box.anchor);
        if (mine === generation && found) await picture(box, found);
      }
    } catch (error) { failed(error); } finally { busy = false; }
  };

  const plotlyReady = new Promise((ready) => {
    const look = () => (window.Plotly ? ready() : setTimeout(look, 30));
    look();
  });
  /** A title that plotly would read as HTML, as the text it stands for. */
  const spelt = (html) => new DOMParser().parseFromString(html ?? "", "text/html").body.textContent;
  const picture = async (box, found) => {
    const place = box.querySelector(".plots");
    place.classList.remove("waiting");
    if (!found.figures.length) return void place.replaceChildren(make("p", { class: "soft" }, "This run has nothing for this picture."));
    place.querySelector("p.soft")?.remove();
    while (place.children.length > found.figures.length) { Plotly.purge(place.lastChild.plot); place.lastChild.remove(); }
    while (place.children.length < found.figures.length) place.appendChild(framed()); // all first: a figure is drawn as wide as its place
    for (const [i, figure] of found.figures.entries()) {
      const frame = place.children[i];
      const title = words(spelt(figure.layout.title?.text)), read = figure.layout.meta?.read ?? "";
      frame.head.textContent = title;
      frame.read.textContent = read;
      frame.plot.setAttribute("aria-label", `${title}. ${read}`);
      figure.layout.uirevision = "kept"; // a zoom outlives the next step
      frame.plot.figure = figure;
      const first = !frame.plot.data;
      await Plots.show(frame.plot, figure);
      if (first) frame.plot.on("plotly_click", (event) => toStep(event.points[0]));
    }
    box.dataset.version = news?.version ?? "";
  };
  const framed = () => {
    const head = make("h4"), read = make("p", { class: "soft" });
    const plot = make("div", { class: "plot", role: "img", tabindex: "0", onkeydown: (event) => Plots.walk(plot, event) });
    return Object.assign(make("figure", {}, make("figcaption", {}, head, read), plot), { head, read, plot });
  };
  /** From a point of a curve to the rollouts of its step. */
  const toStep = (point) => {
    const step = Math.round(Number(point.customdata ?? point.x)), run = point.data.meta?.run ?? here.run;
    if (Number.isFinite(step) && run === here.run) location.hash = link({ tab: "rollouts", step, row: null });
  };
  const redraw = () => {
    for (const each of cardsBox.children) each.classList.add("stale");
    drawVisible();
  };
  const recolour = () => {
    for (const plot of document.querySelectorAll("div.plot")) if (plot.figure && plot.data) Plots.show(plot, plot.figure);
  };

  // --- rollouts --------------------------------------------------------------------------------------------------

  const openRollouts = async () => {
    const name = here.run, mine = generation;
    try {
      about ??= await ask(address(name));
      if (mine !== generation) return;
      if (!viewer) {
        viewer = Rollouts.viewer(rolloutsBox, {
          settings: about.settings, steps: news?.steps ?? about.steps,
          step: (step) => ask(address(name, `/step/${step}`)),
          group: (step, group) => ask(address(name, `/step/${step}/group?${new URLSearchParams({ group: String(group) })}`)),
          history: (key) => ask(address(name, `/history?${new URLSearchParams({ key })}`)),
          whole: (step, c) => make("a", { href: address(name, `/step/${step}/row/${c.row}`), target: "_blank", rel: "noopener" }, "open all of it as text"),
        }, (state) => {
          Object.assign(here, { step: state.step, row: state.row ?? null, pick: null });
          history.replaceState(null, "", link({ tab: "rollouts" }));
        });
      }
      const pick = here.pick ?? (here.step === null && here.row === null ? "worst" : undefined);
      viewer.show({ step: here.step ?? undefined, row: here.row ?? undefined, pick });
    } catch (error) { failed(error); }
  };

  // --- start -----------------------------------------------------------------------------------------------------

  addEventListener("hashchange", follow);
  document.addEventListener("visibilitychange", seenOrNot);
  axis.addEventListener("change", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  Plots.theme(document.getElementById("theme"), recolour);
  watch();
})();
