// One number of each row of a small table, over another of its columns.

// `marked` gives the row that is marked, if any; a click calls `onClick` with a row.
function curvePanel(panel, table, over, { marked = () => -1, onClick = null } = {}) {
  const { metrics } = table.map;
  const key = panel.id;
  const state = { metric: metrics[0] };
  const about = element("div", { className: "note about" });
  const plot = element("div", { className: "plot" });
  plot.style.height = "320px";
  const metric = metricChooser([table], metrics, (name) => { state.metric = name; show(); remember(); });
  const rows = Array.from({ length: table.rows }, (_, row) => row);
  const csv = () => csvOf([over, state.metric], rows.map((row) => [csvCell(table, over, row), csvCell(table, state.metric, row)]));
  panel.append(element("div", { className: "controls" }, element("label", {}, tr("metric"), metric),
    saveButtons({ plots: () => [plot], csv, names: () => [key, state.metric] })), about, plot);

  function render() {
    const values = rows.map((row) => table.number(state.metric, row));
    const at = rows.map((row) => table.number(over, row));
    const { title } = table.columns.get(over);
    const known = values.filter(Number.isFinite);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    // Differences that are rounding are none.
    const room = high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high)) ? null : 0.5 * (Math.abs(high) || 1);
    draw(plot, [{
      type: "scatter", mode: "lines+markers", x: at, y: values.map((value) => (Number.isFinite(value) ? value : null)), line: lineStyle(0), customdata: rows,
      marker: { size: rows.map((row) => (row === marked() ? 11 : 5)), color: rows.map((row) => (row === marked() ? LINES[3] : LINES[0])) },
      text: values.map((value, row) => `${plotText(title)} ${at[row]}<br>${plotText(state.metric)} <b>${short(value)}</b>`), hoverinfo: "text",
    }], {
      xaxis: axis({ title: { text: plotText(title) }, ...(table.rows < 12 ? { dtick: 1 } : {}) }),
      yaxis: axis({ title: { text: plotText(titled(table.columns.get(state.metric))) }, exponentformat: "power", ...(room === null ? {} : { range: [low - room, high + room] }) }),
    });
  }

  function show() {
    Object.assign(metric, { value: state.metric });
    metricNote(about, table.columns.get(state.metric));
    render();
  }

  inAddress(key, () => ({ metric: state.metric === metrics[0] ? "" : state.metric }), (given) => {
    state.metric = given.one("metric", metrics, metrics[0]);
    show();
  });
  drawings.push(render);
  if (onClick !== null) plot.on("plotly_click", (event) => onClick(event.points[0].customdata));
  return render;
}
