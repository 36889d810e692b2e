// The panel of a map: its choices, what the metric means, and a plot for each run.

// A plot for each of `tables`, with the run's name above where there are two.
function plotsFor(tables) {
  const plots = tables.map(() => element("div", { className: "plot" }));
  const figures = plots.map((plot, at) => (runs.length === 1 ? plot
    : element("figure", {}, element("figcaption", {}, tables[at].run.mark + tables[at].run.name), plot)));
  return { plots, area: element("div", { className: tables.length > 1 ? "plots pair" : "plots" }, ...figures) };
}

// What is shown when one points at a metric's name, always in view below its chooser.
function metricNote(note, column) {
  note.replaceChildren(...columnNodes(column));
}

function mapPanel(section, onCell) {
  const key = section.dataset.table;
  const name = section.dataset.key ?? (key === "params" ? "maps" : `${key}-map`);
  const tables = tablesOf(key).filter((table) => table.map !== null);
  const labels = rowLabels(tables);
  const { rows, split: splitBy, missing = null } = tables[0].map;
  const rowsAre = rows === null ? "" : `${columnOf(tables, rows).title.toLocaleLowerCase()} `;
  const metrics = [...new Set(tables.flatMap((table) => table.map.metrics))];
  const levels = splitBy === null ? [] : [...new Set(tables.flatMap((table) => (table.has(splitBy) ? table.columns.get(splitBy).levels : [])))];
  const views = ["map", "deviation", "lines"];
  const isLog = (name) => tables.some((table) => table.has(name) && table.columns.get(name).log);
  const usual = { metric: metrics[0], view: "map", split: levels[0] ?? null, log: isLog(metrics[0]) };
  const state = { ...usual };

  const about = element("div", { className: "note about" });
  const { plots, area } = plotsFor(tables);
  const log = element("input", { type: "checkbox" });
  const metric = metricChooser(tables, metrics, (name) => { Object.assign(state, { metric: name, log: isLog(name) }); chosen(); });
  const view = element("select", { ariaLabel: tr("View") }, option("map", tr("map of values")),
    option("deviation", rowsAre ? tr("deviation along each {row}", { row: rowsAre.trim() }) : tr("deviation within block type")),
    option("lines", tr("lines over the layers")));
  const split = element("select", { ariaLabel: splitBy ?? "" }, ...levels.map((level) => option(level)));
  view.addEventListener("change", () => { state.view = view.value; chosen(); });
  log.addEventListener("change", () => { state.log = log.checked; chosen(); });
  split.addEventListener("change", () => { state.split = split.value; chosen(); });
  const names = () => [key === "params" ? "" : key, state.metric, state.split ?? "", state.view];
  section.append(element("div", { className: "controls" },
    element("label", {}, tr("metric"), metric), element("label", {}, tr("as"), view), element("label", {}, log, tr("log scale")),
    ...(splitBy === null ? [] : [element("label", {}, columnOf(tables, splitBy)?.title ?? splitBy, split)]),
    saveButtons({ plots: () => plots, csv: () => cellsCsv(maps(), state.metric, labels), names })), about, area);

  const maps = () => tables.map((table) => {
    if (state.split === null || !table.has(splitBy)) return cellsOf(table, state.metric, labels);
    const [codes, wanted] = [table.raw(splitBy), table.columns.get(splitBy).levels.indexOf(state.split)];
    return cellsOf(table, state.metric, labels, (row) => codes[row] === wanted);
  });

  function render() {
    const shown = maps().map((cells, at) => [cells, plots[at]]);
    const all = shown.map(([cells]) => cells);
    const hover = (cell) => cellHover(cell, state.metric, labels, rowsAre);
    if (state.view === "lines") {
      const range = tables.length > 1 ? lineRange(all, state.log) : null;
      for (const [cells, plot] of shown) {
        plot.style.minHeight = "440px";
        drawLines(plot, cells, { labels, hover, log: state.log, title: titled(columnOf(tables, state.metric)), range });
      }
      return;
    }
    const isDeviation = state.view === "deviation";
    const distances = isDeviation ? new Map(all.flatMap((cells) => [...deviations(cells, state.log)])) : null;
    const shadeOf = (cell) => {
      if (isDeviation) return distances.get(cell) ?? null;
      const value = state.log ? Math.log10(cell.value) : cell.value;
      return Number.isFinite(value) ? value : null;
    };
    const groups = [...new Set(all.flatMap((cells) => cells.groups))].sort((a, b) => a - b);
    const withDistance = (cell) => hover(cell) + (isDeviation ? `<br>${tr("deviation {z}", { z: short(distances.get(cell) ?? NaN) })}` : "");
    const range = shadeRange(all, shadeOf);
    // A logarithm knows no 0.
    const said = missing !== null && state.log ? tr("hatched: no number, or 0") : missing;
    for (const [cells, plot] of shown) {
      drawMap(plot, cells, { groups, labels, shadeOf, range, hover: withDistance, log: state.log, isDeviation, rowsAre, missing: said });
    }
  }

  function show() {
    Object.assign(metric, { value: state.metric });
    Object.assign(view, { value: state.view });
    Object.assign(log, { checked: state.log });
    if (state.split !== null) split.value = state.split;
    metricNote(about, columnOf(tables, state.metric));
    render();
  }

  function chosen() {
    show();
    remember();
  }

  inAddress(name, () => ({
    metric: state.metric === usual.metric ? "" : state.metric,
    view: state.view === usual.view ? "" : state.view,
    split: state.split === usual.split ? "" : state.split,
    log: state.log === isLog(state.metric) ? "" : (state.log ? "yes" : "no"),
  }), (given) => {
    state.metric = given.one("metric", metrics, usual.metric);
    state.view = given.one("view", views, usual.view);
    if (state.split !== null) state.split = given.one("split", levels, usual.split);
    state.log = given.one("log", ["yes", "no"], isLog(state.metric) ? "yes" : "no") === "yes";
    show();
  });
  drawings.push(render);
  show();
  plots.forEach((plot, at) => plot.on("plotly_click", (event) => {
    const row = event.points[0].customdata;
    if (row !== null && row !== undefined) onCell(tables[at], row);
  }));
}
