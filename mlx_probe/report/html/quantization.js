// The error of rounding to few bits, by layer.

function startQuantization() {
  const panel = document.getElementById("quantization");
  if (panel === null) return;
  const note = document.getElementById("quantization-note");
  const metrics = [...new Set(runs.flatMap((run) => run.quantization))];
  if (!metrics.length) {
    note.textContent = tr("This run has no rounding errors: they are in --metrics full, and for weights that are not packed into few bits already.");
    return;
  }
  const tables = runs.filter((run) => run.quantization.length).map((run) => run.params);
  const labels = rowLabels(tables);
  const state = { metric: metrics[0] };
  const { plots, area } = plotsFor(tables);
  const maps = () => tables.map((table) => cellsOf(table, state.metric, labels));
  const chooser = metricChooser(tables, metrics, (name) => { state.metric = name; show(); remember(); });
  panel.append(element("div", { className: "controls" }, element("label", {}, tr("error of"), chooser),
    saveButtons({ plots: () => plots, csv: () => cellsCsv(maps(), state.metric, labels), names: () => [state.metric] })), area);
  const about = tr("Root mean square error of rounding to 4 or 8 bits (groups of 64, minimum and maximum), as a share of the weight's own root mean square, by layer. Higher means that the tensor suffers more.");

  function show() {
    const all = maps();
    const rest = all.flatMap((cells) => cells.all.filter((cell) => cell.layer === OUTSIDE)
      .map((cell) => `${cell.table.run.mark}${labels.names[cell.group]} ${short(cell.value)}`)).join(", ");
    note.textContent = visible(about + (rest && ` ${tr("Outside the layers: {values}.", { values: rest })}`));
    chooser.value = state.metric;
    const log = tables.some((table) => table.has(state.metric) && table.columns.get(state.metric).log);
    const range = tables.length > 1 ? lineRange(all, log) : null;
    all.forEach((cells, at) => {
      plots[at].style.minHeight = "380px";
      drawLines(plots[at], cells, { labels, hover: (cell) => cellHover(cell, state.metric, labels, ""), log, title: titled(columnOf(tables, state.metric)), range });
    });
  }

  inAddress("quantization", () => ({ metric: state.metric === metrics[0] ? "" : state.metric }), (given) => {
    state.metric = given.one("metric", metrics, metrics[0]);
    show();
  });
  drawings.push(show);
  plots.forEach((plot, at) => plot.on("plotly_click", (event) => chooseTensor(tables[at].run, event.points[0].customdata, true)));
}
