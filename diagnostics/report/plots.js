"use strict";
// Draws plotly figures that stand in the page as JSON: in the page's colours, when they come into view, for the keyboard
// too. Report and dashboard use it. A plot is an element `.plot` with `data-figure`, its number in the list.
const Plots = (() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: false };

  // The figure's own colours are those of its data; ink and lines are the page's.
  const coloured = (layout) => {
    const ink = style("--text"), rule = style("--line"), made = { ...layout, font: { ...layout.font, color: ink } };
    const head = layout.meta?.head || 0; // the page shows the title as a heading
    delete made.title;
    made.height = layout.height - head;
    made.margin = { ...layout.margin, t: layout.margin.t - head };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name)))
      made[key] = { ...layout[key], gridcolor: rule, linecolor: rule, tickcolor: rule };
    made.hoverlabel = { bgcolor: style("--card"), bordercolor: rule, font: { color: ink } };
    return made;
  };

  const show = (plot, figure) => {
    plot.dataset.drawn = "yes";
    return Plotly.react(plot, figure.data, coloured(figure.layout), config);
  };

  // Arrow keys walk along the curve that has most points and show all values there.
  const walk = (plot, event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const curves = (plot.calcdata || []).map((points, i) => [points.length, i]).sort((a, b) => b[0] - a[0]);
    if (event.key === "Escape") Plotly.Fx.unhover(plot);
    if (!by || !curves.length) return;
    event.preventDefault();
    const [count, curve] = curves[0], now = Number(plot.dataset.point ?? (by > 0 ? -1 : count));
    const next = Math.min(count - 1, Math.max(0, now + by));
    plot.dataset.point = next;
    Plotly.Fx.hover(plot, [{ curveNumber: curve, pointNumber: next }]);
  };

  // `figures`: a function from a plot to its figure. Drawn when they come into view: a page may hold a hundred.
  const watch = (plots, figures) => {
    const seen = new IntersectionObserver(
      (entries) => entries.forEach((e) => e.isIntersecting && !e.target.dataset.drawn && show(e.target, figures(e.target))),
      { rootMargin: "600px" });
    plots.forEach((plot) => { seen.observe(plot); plot.addEventListener("keydown", (event) => walk(plot, event)); });
    const again = () => plots.filter((plot) => plot.dataset.drawn).forEach((plot) => show(plot, figures(plot)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    addEventListener("beforeprint", () => {
      document.documentElement.classList.add("printing");
      plots.forEach((plot) => { show(plot, figures(plot)); Plotly.Plots.resize(plot); });
    });
    addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); again(); });
    return again;
  };

  const theme = (button, again) => button.addEventListener("click", () => {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    again();
  });

  return { show, walk, watch, theme };
})();
