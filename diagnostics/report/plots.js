"use strict";
// Draws plotly figures that stand in the page as JSON: in the page's colours, when they come into view, for the keyboard
// too. Report and dashboard use it. A plot is an element `.plot` with `data-figure`, its number in the list.
const Plots = (() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: false };

  const NARROW = 560; // pixels: on a phone
  const printing = () => document.documentElement.classList.contains("printing");

  // There the names of the axes stand level above their rows: turned, they would be longer than a row is high.
  const level = (layout) => {
    const made = { ...layout, annotations: [...(layout.annotations ?? [])], margin: { ...layout.margin }, legend: { ...layout.legend } };
    for (const key of Object.keys(layout).filter((name) => /^yaxis\d*$/.test(name))) {
      const { title, domain = [0, 1] } = layout[key];
      if (!title?.text) continue;
      const above = domain[1] > 0.999 ? layout.meta.above + 12 : 0; // the marks of events stand over the top row
      if (above) {
        made.legend.y += 16 / layout.meta.inside;
        made.margin.t += 16;
        made.height += 16;
      }
      made[key] = { ...layout[key], title: { text: "" } };
      const place = { xref: "paper", x: 0, xanchor: "left", yref: "paper", y: domain[1], yanchor: "bottom", yshift: above - 1 };
      made.annotations.push({ ...place, text: title.text.replaceAll("<br>", " "), showarrow: false, borderpad: 0, font: { size: 11 } });
    }
    return made;
  };

  // The figure's own colours are those of its data; ink and lines are the page's.
  const coloured = (given, narrow) => {
    const layout = narrow ? level(given) : given;
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

  const show = async (plot, figure) => {
    plot.dataset.drawn = "yes";
    const layout = coloured(figure.layout, plot.clientWidth < NARROW);
    if (printing()) layout.width = plot.clientWidth; // plotly fits a figure to its place in a while, and paper does not wait
    plot.style.height = `${layout.height}px`;
    await Plotly.react(plot, figure.data, layout, config);
    for (let height = layout.height, tries = 0; tries < 3; tries++) { // the legend moves with what it is given
      const lacking = Math.round((figure.layout.meta?.inside ?? 0) - plot._fullLayout._size.h);
      if (lacking < 4) return;
      height += lacking;
      plot.style.height = `${height}px`; // a legend of several lines takes no room from the rows
      await Plotly.relayout(plot, { height });
    }
  };

  // Arrow keys walk along the curve that has most points and show all values there.
  const walk = (plot, event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const pointed = (plot.calcdata || []).map((points, i) => [points[0]?.trace.hoverinfo === "skip" ? 0 : points.length, i]);
    const curves = pointed.filter(([count]) => count).sort((a, b) => b[0] - a[0]); // a band has nothing to say
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
      plots.forEach((plot) => show(plot, figures(plot)));
    });
    addEventListener("afterprint", () => {
      document.documentElement.classList.remove("printing");
      plots.filter((plot) => plot.dataset.drawn).forEach(async (plot) => {
        await show(plot, figures(plot));
        await Plotly.relayout(plot, { autosize: true }); // as wide as its place again
      });
    });
    return again;
  };

  const theme = (button, again) => button.addEventListener("click", () => {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    again();
  });

  return { show, walk, watch, theme };
})();
