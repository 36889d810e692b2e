// What the page does when it opens.

function startQuantization() {
  const plot = document.getElementById("quantization-plot");
  if (plot === null) return;
  const note = document.getElementById("quantization-note");
  const names = payload.quantization;
  if (!names.length) {
    plot.remove();
    note.textContent = "This run has no rounding errors: they are in --metrics full, and for weights that are not packed into few bits already.";
    return;
  }
  let metric = names[0];
  const labels = { names: payload.group_names, of: payload.groups };
  const chooser = metricChooser(params, names, (name) => { metric = name; render(); });
  document.getElementById("quantization-controls").append(element("label", {}, "error of", chooser));
  const about = "Root mean square error of rounding to 4 or 8 bits (groups of 64, minimum and maximum), as a share of the weight's "
    + "own root mean square, by layer. Higher means that the tensor suffers more.";
  function render() {
    const cells = cellsOf(params, metric, labels, () => true);
    const outside = cells.all.filter((cell) => cell.layer === OUTSIDE);
    const rest = outside.map((cell) => `${payload.group_names[cell.group]} ${short(cell.value)}`).join(", ");
    note.textContent = visible(about + (rest && ` Outside the layers: ${rest}.`));
    const hover = (cell) => `<b>${plotText(label(cell.row))}</b><br>${metric} ${short(cell.value)}`
      + (cell.values.length > 1 ? `, median of ${cell.values.length}` : "");
    drawLines(plot, cells, labels, hover, { log: Boolean(params.columns.get(metric).log), title: metric });
  }
  drawn(render);
  plot.on("plotly_click", (event) => chooseTensor(event.points[0].customdata, true));
}

startTheme();
startSpectrum();
document.querySelectorAll("section.map").forEach((section) => mapPanel(section, (table, row) => {
  if (table === params) chooseTensor(row, true);
}));
startOutliers();
startQuantization();
document.querySelectorAll("div.grid").forEach(gridPanel);
root.dataset.ready = "yes";
