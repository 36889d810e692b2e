// Maps of a training run: a metric over the snapshots, for the layers of one kind of tensor.

// Every kind of tensor on a line of its own, with the median over its layers.
const EVERY_KIND = "";

// Ticks below the snapshots, whose steps grow like powers: a place each.
function stepTicks(steps, width) {
  const every = Math.ceil(steps.length / Math.max(2, Math.floor(width / 55)));
  const last = steps.length - 1;
  // The last step is always named, and no other so near that both would be written over each other.
  const shown = steps.map((step, at) => [step, at]).filter(([, at]) => at === last || (at % every === 0 && at <= last - every));
  return { tickvals: shown.map(([, at]) => at), ticktext: shown.map(([step]) => (step < 10000 ? String(step) : `${short(Math.round(step / 1000))}k`)) };
}

const OVER_STEPS = {
  title: () => tr("step of the snapshot"), ticks: stepTicks, lineTicks: stepTicks, place: (cell, steps) => steps.indexOf(cell.layer),
};

// The cells of a map: a line for each layer of a kind, or for each kind; a column for each snapshot.
function stepCells(run, metric, kind) {
  const { params } = run;
  const [values, steps, layers] = [params.raw(metric), params.raw("step"), params.raw("layer_index")];
  const cells = new Map();
  const names = [];
  const lines = new Map();
  const lineOf = (row) => {
    const layer = layers[row];
    const name = kind === EVERY_KIND ? run.group(row) : Number.isNaN(layer) ? tr("outside the layers") : tr("layer {layer}", { layer });
    if (!lines.has(name)) { lines.set(name, names.length); names.push(name); }
    return lines.get(name);
  };
  const rows = Array.from(values.keys()).filter((row) => !Number.isNaN(values[row]) && (kind === EVERY_KIND || run.group(row) === kind));
  // In a table in the order of names, layer 10 comes before layer 2.
  const place = (row) => (Number.isNaN(layers[row]) ? Infinity : layers[row]);
  if (kind !== EVERY_KIND) rows.sort((a, b) => (place(a) - place(b)) || (a - b));
  for (const row of rows) {
    const key = `${lineOf(row)}|${steps[row]}`;
    if (!cells.has(key)) cells.set(key, { group: lineOf(row), layer: steps[row], values: [], row, doubtful: 0 });
    const cell = cells.get(key);
    cell.values.push(values[row]);
    cell.doubtful += params.isDoubtful(metric, row);
  }
  for (const cell of cells.values()) {
    cell.value = median(cell.values);
    cell.isDoubtful = 2 * cell.doubtful > cell.values.length;
  }
  const all = [...cells.values()];
  return { all, columns: run.snapshots, groups: names.map((_, at) => at), labels: { names } };
}

// What each line had in its first snapshot.
function beginnings(cells) {
  const first = new Map();
  for (const cell of cells.all) {
    if (!first.has(cell.group) || first.get(cell.group).layer > cell.layer) first.set(cell.group, cell);
  }
  return first;
}

function startMaps() {
  const panel = document.getElementById("maps");
  if (panel === null) return;
  const known = runs.filter((run) => run.params.rows);
  const metrics = [...new Set(known.flatMap((run) => run.params.map.metrics))];
  const tables = known.map((run) => run.params);
  // Kinds of tensors that have numbers of a metric.
  const kindsOf = ({ params, groups, groupNames }, metric) => {
    const values = params.has(metric) ? params.raw(metric) : [];
    return [...new Set(Array.from(values, (value, row) => (Number.isNaN(value) ? null : groupNames[groups[row]])))].filter((kind) => kind !== null);
  };
  const isLog = (name) => tables.some((table) => table.has(name) && table.columns.get(name).log);
  const views = ["map", "change", "lines"];
  // The first kind that is in the layers.
  const inLayers = (run, kind) => run.groups.some((group, row) => run.groupNames[group] === kind && !Number.isNaN(run.params.number("layer_index", row)));
  const usualKind = (run, metric) => kindsOf(run, metric).find((kind) => inLayers(run, kind)) ?? EVERY_KIND;
  const usual = { run: known[0], metric: metrics[0], kind: usualKind(known[0], metrics[0]), view: "map", log: isLog(metrics[0]) };
  const state = { ...usual };
  const about = element("div", { className: "note about" });
  const plot = element("div", { className: "plot" });
  const which = element("select", { ariaLabel: tr("Run") }, ...known.map((run) => option(String(run.at), cut(run.mark + run.name, 60))));
  const metric = metricChooser(tables, metrics, (name) => { Object.assign(state, { metric: name, log: isLog(name) }); chosen(); });
  const kind = element("select", { ariaLabel: tr("Kind of tensor") });
  const view = element("select", { ariaLabel: tr("View") }, option("map", tr("map of values")), option("change", tr("change since the first snapshot")), option("lines", tr("lines over the steps")));
  const log = element("input", { type: "checkbox" });
  which.addEventListener("change", () => { state.run = runs[Number(which.value)]; chosen(); });
  kind.addEventListener("change", () => { state.kind = kind.value; chosen(); });
  view.addEventListener("change", () => { state.view = view.value; chosen(); });
  log.addEventListener("change", () => { state.log = log.checked; chosen(); });
  panel.append(element("div", { className: "controls" },
    ...(known.length > 1 ? [element("label", {}, tr("run"), which)] : []),
    element("label", {}, tr("metric"), metric), element("label", {}, tr("of tensors"), kind), element("label", {}, tr("as"), view), element("label", {}, log, tr("log scale")),
    saveButtons({ plots: () => [plot], csv, names: () => [state.metric, state.kind, state.view] })), about, plot);

  function cellsNow() {
    const { params } = state.run;
    if (!params.has(state.metric)) return { all: [], columns: state.run.snapshots, groups: [], labels: { names: [] } };
    return stepCells(state.run, state.metric, state.kind);
  }

  function csv() {
    const cells = cellsNow();
    return csvOf(["run", "kind", state.kind === EVERY_KIND ? "line" : "layer", "step", state.metric, "values"], cells.all.map((cell) => [
      csvText(state.run.name), csvText(state.kind), csvText(cells.labels.names[cell.group]), String(cell.layer), exactText(cell.value, false), String(cell.values.length)]));
  }

  function hover(cells, first) {
    return (cell) => {
      const lines = [`<b>${plotText(cells.labels.names[cell.group])}</b>, ${tr("step {step}", { step: cell.layer })}`, `${plotText(state.metric)} <b>${short(cell.value)}</b>`];
      const begun = first.get(cell.group);
      if (begun !== cell) lines.push(tr("{value} at step {step}", { value: short(begun.value), step: begun.layer }));
      if (cell.values.length > 1) lines.push(tr("median of {count}", { count: cell.values.length }));
      if (cell.isDoubtful) lines.push(tr("the fit is not reliable"));
      if (cell.values.length === 1) lines.push(plotText(state.run.label(cell.row)));
      return lines.join("<br>");
    };
  }

  function render() {
    const cells = cellsNow();
    const first = beginnings(cells);
    const shared = { labels: cells.labels, hover: hover(cells, first), across: OVER_STEPS };
    const isChange = state.view === "change";
    const useLog = state.log && !isChange;
    log.disabled = isChange;
    if (state.view === "lines") {
      plot.style.minHeight = "440px";
      drawLines(plot, cells, { ...shared, log: state.log, title: titled(columnOf(tables, state.metric)) });
      return;
    }
    const shadeOf = (cell) => {
      const value = isChange ? cell.value - first.get(cell.group).value : state.log ? Math.log10(cell.value) : cell.value;
      return Number.isFinite(value) ? value : null;
    };
    drawMap(plot, cells, { ...shared, groups: cells.groups, shadeOf, range: shadeRange([cells], shadeOf), log: useLog, isDeviation: false, rowsAre: "" });
  }

  function show() {
    const kinds = [EVERY_KIND, ...kindsOf(state.run, state.metric)];
    if (!kinds.includes(state.kind)) state.kind = usualKind(state.run, state.metric);
    kind.replaceChildren(...kinds.map((name) => option(name, name === EVERY_KIND ? tr("every kind, median over its layers") : visible(name))));
    Object.assign(which, { value: String(state.run.at) });
    Object.assign(metric, { value: state.metric });
    Object.assign(kind, { value: state.kind });
    Object.assign(view, { value: state.view });
    Object.assign(log, { checked: state.log });
    metricNote(about, columnOf(tables, state.metric));
    render();
  }

  function chosen() {
    show();
    remember();
  }

  inAddress("maps", () => ({
    run: state.run === usual.run ? "" : state.run.letter,
    metric: state.metric === usual.metric ? "" : state.metric,
    kind: state.kind === usualKind(state.run, state.metric) ? "" : state.kind || "every",
    view: state.view === usual.view ? "" : state.view,
    log: state.log === isLog(state.metric) ? "" : (state.log ? "yes" : "no"),
  }), (given) => {
    const letter = given.one("run", known.map((run) => run.letter), usual.run.letter);
    state.run = known.find((run) => run.letter === letter);
    state.metric = given.one("metric", metrics, usual.metric);
    const wanted = given.one("kind", ["every", ...kindsOf(state.run, state.metric)], usualKind(state.run, state.metric) || "every");
    state.kind = wanted === "every" ? EVERY_KIND : wanted;
    state.view = given.one("view", views, usual.view);
    state.log = given.one("log", ["yes", "no"], isLog(state.metric) ? "yes" : "no") === "yes";
    show();
  });
  drawings.push(render);
  show();
  plot.on("plotly_click", (event) => {
    const row = event.points[0].customdata;
    // Comparisons with a base keep no singular values.
    if (row !== null && row !== undefined && document.getElementById("spectra") !== null) chooseTensor(state.run, row, true);
  });
}
