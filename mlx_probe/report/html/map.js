// Heat maps over the layers, and the same numbers as lines.

const OUTSIDE = "outside";
// Robust deviations beyond this have the last colour.
const CLIPPED = 6;

// What the rows of a map are: block types, or heads, or experts.
function rowLabels(table) {
  if (table.map.rows === null) return { names: payload.group_names, of: payload.groups };
  const values = table.raw(table.map.rows);
  const present = [...new Set(values)].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  const position = new Map(present.map((value, at) => [value, at]));
  return { names: present.map(String), of: Array.from(values, (value) => position.get(value) ?? -1) };
}

// The cells of a map: median, range, number and first row of the values in each.
function cellsOf(table, metric, labels, keep) {
  const values = table.raw(metric);
  const layers = table.has("layer_index") ? table.raw("layer_index") : new Float32Array(table.rows).fill(NaN);
  const cells = new Map();
  for (let row = 0; row < table.rows; row += 1) {
    if (Number.isNaN(values[row]) || labels.of[row] < 0 || !keep(row)) continue;
    const layer = Number.isNaN(layers[row]) ? OUTSIDE : layers[row];
    const key = `${labels.of[row]}|${layer}`;
    if (!cells.has(key)) cells.set(key, { group: labels.of[row], layer, values: [], row });
    cells.get(key).values.push(values[row]);
  }
  for (const cell of cells.values()) {
    cell.value = median(cell.values);
    cell.low = cell.values.reduce((a, b) => Math.min(a, b));
    cell.high = cell.values.reduce((a, b) => Math.max(a, b));
  }
  const all = [...cells.values()];
  const last = all.reduce((most, cell) => (cell.layer === OUTSIDE ? most : Math.max(most, cell.layer)), -1);
  const columns = Array.from({ length: last + 1 }, (_, layer) => layer);
  if (all.some((cell) => cell.layer === OUTSIDE)) columns.push(OUTSIDE);
  return { all, columns, groups: [...new Set(all.map((cell) => cell.group))].sort((a, b) => a - b) };
}

// Ticks of a logarithmic colour bar, at most nine.
function logTicks(low, high) {
  const steps = high - low > 2 ? [1] : [1, 2, 5];
  let ticks = [];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade += 1) {
    for (const step of steps) ticks.push(decade + Math.log10(step));
  }
  ticks = ticks.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9);
  const every = Math.ceil(ticks.length / 9);
  ticks = ticks.filter((_, at) => at % every === 0);
  return { tickvals: ticks, ticktext: ticks.map((tick) => short(10 ** tick)) };
}

// Distance of each cell from the median of its row of the map, in robust standard deviations.
function deviations(cells, log) {
  const scaled = (value) => (log ? Math.log10(value) : value);
  const distances = new Map();
  for (const group of cells.groups) {
    const own = cells.all.filter((cell) => cell.group === group && Number.isFinite(scaled(cell.value)));
    if (!own.length) continue;
    const middle = median(own.map((cell) => scaled(cell.value)));
    const away = own.map((cell) => Math.abs(scaled(cell.value) - middle));
    // Differences that do not show in four digits are rounding, as in the list of outliers.
    const usual = median(own.map((cell) => cell.value));
    const apart = own.some((cell) => Math.abs(cell.value - usual) > 1e-4 * Math.max(Math.abs(cell.value), Math.abs(usual)));
    const scale = !apart ? 0 : 1.4826 * median(away) || 1.2533 * (away.reduce((a, b) => a + b, 0) / away.length);
    own.forEach((cell) => distances.set(cell, scale > 0 ? (scaled(cell.value) - middle) / scale : 0));
  }
  return distances;
}

function layerTicks(columns) {
  const layers = columns.filter((layer) => layer !== OUTSIDE);
  const every = [1, 2, 5, 10, 20, 50].find((step) => layers.length / step <= 26) ?? 100;
  const shown = columns.map((layer, at) => [layer, at]).filter(([layer]) => layer === OUTSIDE || layer % every === 0);
  return { tickvals: shown.map(([, at]) => at), ticktext: shown.map(([layer]) => String(layer)) };
}

function mapPanel(section, onCell) {
  const table = tables[section.dataset.table];
  const labels = rowLabels(table);
  const rowsAre = table.map.rows === null ? "" : `${table.map.rows.replace(/_index$/, "")} `;
  const state = { metric: table.map.metrics[0], log: false, view: "map", split: null };
  const about = element("p", { className: "note" });
  const plot = element("div", { className: "plot" });
  const log = element("input", { type: "checkbox" });
  const metric = metricChooser(table, table.map.metrics, (name) => { state.metric = name; fresh(); });
  const view = element("select", { ariaLabel: "View" },
    element("option", { value: "map" }, "map of values"),
    element("option", { value: "deviation" }, rowsAre ? `deviation along each ${rowsAre}` : "deviation within block type"),
    element("option", { value: "lines" }, "lines over the layers"));
  const controls = element("div", { className: "controls" },
    element("label", {}, "metric", metric), element("label", {}, "as", view), element("label", {}, log, "log scale"));
  view.addEventListener("change", () => { state.view = view.value; render(); });
  log.addEventListener("change", () => { state.log = log.checked; render(); });
  if (table.map.split !== null) {
    const levels = table.columns.get(table.map.split).levels ?? [];
    const split = element("select", { ariaLabel: table.map.split }, ...levels.map((level) => element("option", { value: level }, level)));
    [state.split] = levels;
    split.addEventListener("change", () => { state.split = split.value; render(); });
    controls.append(element("label", {}, table.map.split, split));
  }
  section.append(controls, about, plot);

  function fresh() {
    const column = table.columns.get(state.metric);
    state.log = log.checked = Boolean(column.log);
    about.textContent = visible([column.about, column.unit && `Unit: ${column.unit}.`].filter(Boolean).join(" "));
    render();
  }

  function hover(cell) {
    const name = labels.names[cell.group];
    const where = cell.layer === OUTSIDE ? "outside the layers" : `layer ${cell.layer}`;
    const lines = [`<b>${plotText(rowsAre + name)}</b>, ${where}`, `${plotText(state.metric)} <b>${short(cell.value)}</b>`];
    if (cell.values.length > 1) lines.push(`median of ${cell.values.length}: ${short(cell.low)} to ${short(cell.high)}`);
    if (table === params) lines.push(plotText(label(cell.row)));
    return lines.join("<br>");
  }

  function renderMap(cells) {
    const deviating = state.view === "deviation" ? deviations(cells, state.log) : null;
    const shade = (cell) => {
      if (deviating) return deviating.get(cell) ?? null;
      const value = state.log ? Math.log10(cell.value) : cell.value;
      return Number.isFinite(value) ? value : null;
    };
    const z = cells.groups.map(() => cells.columns.map(() => null));
    const text = cells.groups.map(() => cells.columns.map(() => ""));
    const at = cells.groups.map(() => cells.columns.map(() => null));
    const column = new Map(cells.columns.map((layer, at) => [layer, at]));
    const line = new Map(cells.groups.map((group, at) => [group, at]));
    for (const cell of cells.all) {
      const [y, x] = [line.get(cell.group), column.get(cell.layer)];
      z[y][x] = shade(cell);
      text[y][x] = hover(cell) + (deviating ? `<br>deviation ${short(deviating.get(cell) ?? NaN)}` : "");
      at[y][x] = cell.row;
    }
    const seen = z.flat().filter((value) => value !== null);
    const [low, high] = seen.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const bar = { thickness: 12, outlinewidth: 0, ...(state.log && !deviating ? logTicks(low, high) : {}) };
    const scale = deviating
      ? { colorscale: [[0, "#2166ac"], [0.5, color("card")], [1, "#d6604d"]], zmin: -CLIPPED, zmax: CLIPPED }
      : { colorscale: "Viridis" };
    plot.style.minHeight = `${Math.max(220, Math.min(900, 90 + 32 * cells.groups.length))}px`;
    const names = cells.groups.map((group) => plotText(labels.names[group]));
    draw(plot, [{
      type: "heatmap", z, text, customdata: at, hoverinfo: "text", hoverongaps: false, colorbar: bar, xgap: 1, ygap: 1, ...scale,
    }], {
      xaxis: axis({ title: { text: "layer" }, showgrid: false, ...layerTicks(cells.columns) }),
      yaxis: axis({ title: { text: plotText(rowsAre) }, autorange: "reversed", showgrid: false, ...(rowsAre && names.length > 20 ? {} : { tickvals: names.map((_, n) => n), ticktext: names }) }),
    });
  }

  function renderLines(cells) {
    plot.style.minHeight = "440px";
    drawLines(plot, cells, labels, hover, { log: state.log, title: state.metric });
  }

  function render() {
    const codes = state.split === null ? null : table.raw(table.map.split);
    const wanted = state.split === null ? -1 : table.columns.get(table.map.split).levels.indexOf(state.split);
    const cells = cellsOf(table, state.metric, labels, (row) => codes === null || codes[row] === wanted);
    if (state.view === "lines") renderLines(cells); else renderMap(cells);
  }

  drawn(fresh);
  // The colours change without the choices.
  drawings[drawings.length - 1] = render;
  plot.on("plotly_click", (event) => {
    const row = event.points[0].customdata;
    if (row !== null && row !== undefined) onCell(table, row);
  });
}

// One line over the layers for each row of the map that has more than one layer.
function drawLines(plot, cells, labels, hover, { log, title }) {
  const traces = [];
  for (const group of cells.groups) {
    const own = cells.all.filter((cell) => cell.group === group && cell.layer !== OUTSIDE).sort((a, b) => a.layer - b.layer);
    if (!own.length) continue;
    traces.push({
      type: "scatter", mode: own.length > 1 ? "lines+markers" : "markers", name: plotText(labels.names[group]),
      x: own.map((cell) => cell.layer), y: own.map((cell) => cell.value), text: own.map(hover), hoverinfo: "text",
      customdata: own.map((cell) => cell.row), line: lineStyle(traces.length), marker: { size: 4 },
    });
  }
  return draw(plot, traces, {
    xaxis: axis({ title: { text: "layer" } }),
    yaxis: axis({ title: { text: plotText(title) }, type: log ? "log" : "linear", exponentformat: "power" }),
    showlegend: traces.length > 1, legend: { orientation: "v" },
  });
}
