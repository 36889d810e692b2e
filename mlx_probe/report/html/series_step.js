// A series at one step: the curve of the chosen tensor with its changes, and a map of all layers.

const LATE = "#d1495b";
const seriesState = { metric: "", log: false, logSteps: false, since: false };

// The tensors of the chosen one's kind, with a value for each step: [label, values].
function kindCurves(run, metric) {
  const { params } = run;
  const names = namesOf(run);
  const group = run.group(names.get(chosenTensor.name)[0]);
  const [values, steps] = [params.raw(metric), params.raw("step")];
  const place = new Map(run.snapshots.map((step, at) => [step, at]));
  return [...names].filter(([, rows]) => run.group(rows[0]) === group).map(([label, rows]) => {
    const own = run.snapshots.map(() => null);
    for (const row of rows) own[place.get(steps[row])] = Number.isFinite(values[row]) ? values[row] : null;
    return [label, own];
  });
}

function drawSeriesCurve() {
  const { run, name, at } = chosenTensor;
  const { metric, log, logSteps } = seriesState;
  const plot = document.getElementById("series-curve");
  const shift = logSteps && run.snapshots[0] === 0 ? 1 : 0;
  const x = run.snapshots.map((step) => step + shift);
  const curves = kindCurves(run, metric);
  const others = { x: [], y: [], text: [] };
  for (const [label, own] of curves) {
    if (label === name) continue;
    for (let n = 0; n < x.length; n += 1) { others.x.push(x[n]); others.y.push(own[n]); others.text.push(`${plotText(label)}<br>${tr("step {step}", { step: run.snapshots[n] })}<br>${short(own[n] ?? NaN)}`); }
    others.x.push(null); others.y.push(null); others.text.push("");
  }
  const [, own] = curves.find(([label]) => label === name);
  const labels = new Set(curves.map(([label]) => label));
  const changes = run.changes.filter((change) => change.column === metric && labels.has(change.tensor));
  const marks = { x: [], y: [], size: [], text: [] };
  for (const change of changes) {
    marks.x.push(change.until + shift);
    marks.y.push(change.after);
    marks.size.push(change.tensor === name ? 13 : 7);
    marks.text.push(`<b>${plotText(change.tensor)}</b><br>${tr("step {step}", { step: change.step })}<br>${short(change.before)} → ${short(change.after)}<br>${tr("score {score}", { score: short(change.score) })}`);
  }
  const band = (change) => ({ type: "rect", xref: "x", yref: "paper", x0: change.previous + shift, x1: change.until + shift, y0: 0, y1: 1, fillcolor: LATE, opacity: 0.18, line: { width: 0 }, layer: "below" });
  const column = run.params.columns.get(metric);
  draw(plot, [
    { type: "scatter", mode: "lines", ...others, hoverinfo: "text", line: { color: color("edge"), width: 1 }, opacity: 0.45, connectgaps: false, showlegend: false },
    { type: "scatter", mode: "lines+markers", x, y: own, text: own.map((value, n) => `<b>${plotText(name)}</b><br>${tr("step {step}", { step: run.snapshots[n] })}<br>${short(value ?? NaN)}`), hoverinfo: "text", line: { color: LINES[0], width: 2.4 }, marker: { size: 5 }, connectgaps: true, showlegend: false },
    { type: "scatter", mode: "markers", x: marks.x, y: marks.y, text: marks.text, hoverinfo: "text", marker: { symbol: "diamond", color: LATE, size: marks.size, line: { color: color("card"), width: 1 } }, showlegend: false },
  ], {
    xaxis: axis({ title: { text: plotText(shift ? tr("step + 1") : tr("step")) }, type: logSteps ? "log" : "linear", exponentformat: "SI" }),
    yaxis: axis({ title: { text: plotText(titled(column)) }, type: log ? "log" : "linear", exponentformat: "power" }),
    shapes: [
      ...changes.filter((change) => change.tensor === name).map(band),
      { type: "line", xref: "x", yref: "paper", x0: x[at], x1: x[at], y0: 0, y1: 1, line: { color: color("ink"), width: 1, dash: "dash" } },
    ],
    hovermode: "closest",
  });
}

// The cells of the map: kinds and layers at the chosen step, or what changed since the one before.
function layerCells(run, at, labels) {
  const steps = run.params.raw("step");
  const atStep = (step) => cellsOf(run.params, seriesState.metric, labels, (row) => steps[row] === step);
  const now = atStep(run.snapshots[at]);
  if (!seriesState.since) return now;
  const before = new Map((at > 0 ? atStep(run.snapshots[at - 1]).all : []).map((cell) => [`${cell.group}|${cell.layer}`, cell.value]));
  for (const cell of now.all) cell.before = before.get(`${cell.group}|${cell.layer}`);
  return now;
}

// The logarithm of the ratio to the step before, in units in which a factor of two fills the scale.
const ratioOf = (cell) => (cell.before > 0 && cell.value > 0 ? (CLIPPED * Math.log2(cell.value / cell.before)) : null);

function drawSeriesMap() {
  const { run, at } = chosenTensor;
  const { log, since, metric } = seriesState;
  const plot = document.getElementById("series-map");
  const labels = rowLabels([run.params]);
  const cells = layerCells(run, at, labels);
  document.getElementById("layers-note").textContent = since ? tr("Full red: twice the value of the step before, 6 on the scale; full blue: half of it.") : "";
  const value = (of) => { const shade = log ? Math.log10(of) : of; return Number.isFinite(shade) ? shade : null; };
  // One scale for all steps: a colour means one number while the slider moves.
  const all = Array.from(run.params.raw(metric), value).filter((shade) => shade !== null);
  const range = all.reduce(([a, b], shade) => [Math.min(a, shade), Math.max(b, shade)], [Infinity, -Infinity]);
  const hover = (cell) => cellHover(cell, metric, labels, "") + (cell.before === undefined ? "" : `<br>${tr("before: {value}", { value: short(cell.before) })}`);
  drawMap(plot, cells, { groups: cells.groups, labels, range, hover, log, rowsAre: "", isDeviation: since, shadeOf: (cell) => (since ? ratioOf(cell) : value(cell.value)) });
}

// Steps as the arrow keys choose them, wherever no other control takes them.
function startKeys() {
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const at = chosenTensor.at + by;
    if (at < 0 || at >= chosenTensor.run.snapshots.length) return;
    event.preventDefault();
    choose({ at }, true);
  });
}

function startSeries() {
  const [run] = runs;
  const { metrics } = run.params.map;
  const isLog = (name) => Boolean(run.params.columns.get(name).log);
  const usual = metrics.includes("effective_rank") ? "effective_rank" : metrics[0];
  Object.assign(seriesState, { metric: usual, log: isLog(usual) });
  const render = () => { drawSeriesCurve(); drawSeriesMap(); };
  const box = (key, text) => {
    const input = element("input", { type: "checkbox" });
    input.addEventListener("change", () => { seriesState[key] = input.checked; render(); remember(); });
    return [input, element("label", {}, input, text)];
  };
  const metric = metricChooser([run.params], metrics, (name) => { Object.assign(seriesState, { metric: name, log: isLog(name) }); show(); remember(); });
  const [log, logLabel] = box("log", tr("log scale"));
  const [logSteps, stepsLabel] = box("logSteps", tr("logarithmic steps"));
  const [since, sinceLabel] = box("since", tr("change since the step before"));
  const curve = document.getElementById("series-curve");
  const map = document.getElementById("series-map");
  document.getElementById("series-metric").append(element("label", {}, tr("metric"), metric));
  const names = () => [seriesState.metric, chosenTensor.name];
  document.getElementById("curve-controls").append(logLabel, stepsLabel, saveButtons({ plots: () => [curve], csv: curveCsv, names }));
  document.getElementById("layers-controls").append(sinceLabel, saveButtons({ plots: () => [map], csv: () => cellsCsv([layerCells(run, chosenTensor.at, rowLabels([run.params]))], seriesState.metric, rowLabels([run.params])), names: () => [seriesState.metric, tr("step {step}", { step: run.snapshots[chosenTensor.at] })] }));

  function curveCsv() {
    const rows = kindCurves(run, seriesState.metric).flatMap(([label, own]) => own.map((value, at) => [csvText(label), String(run.snapshots[at]), value === null ? "" : exactText(value, false)]));
    return csvOf(["tensor", "step", seriesState.metric], rows);
  }

  function show() {
    Object.assign(metric, { value: seriesState.metric });
    Object.assign(log, { checked: seriesState.log });
    Object.assign(logSteps, { checked: seriesState.logSteps });
    Object.assign(since, { checked: seriesState.since });
    render();
  }

  followers.push(render);
  drawings.push(render);
  inAddress("curve", () => ({
    metric: seriesState.metric === usual ? "" : seriesState.metric,
    log: seriesState.log === isLog(seriesState.metric) ? "" : (seriesState.log ? "yes" : "no"),
    steps: seriesState.logSteps ? "log" : "", since: seriesState.since ? "yes" : "",
  }), (given) => {
    seriesState.metric = given.one("metric", metrics, usual);
    seriesState.log = given.one("log", ["yes", "no"], isLog(seriesState.metric) ? "yes" : "no") === "yes";
    seriesState.logSteps = given.one("steps", ["log"], "") === "log";
    seriesState.since = given.one("since", ["yes"], "") === "yes";
    show();
  });
  curve.on("plotly_click", (event) => {
    const shift = seriesState.logSteps && run.snapshots[0] === 0 ? 1 : 0;
    const at = run.snapshots.indexOf(event.points[0].x - shift);
    if (at >= 0) choose({ at });
  });
  map.on("plotly_click", (event) => {
    const row = event.points[0].customdata;
    if (row !== null && row !== undefined) choose({ name: run.label(row) });
  });
  startKeys();
}
