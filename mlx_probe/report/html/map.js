// Heat maps over the layers, and the same numbers as lines.

// Robust deviations beyond this have the last colour.
const CLIPPED = 6;

// Ticks of a logarithmic colour bar, at most nine.
function logTicks(low, high) {
  const steps = high - low > 2 ? [1] : [1, 2, 5];
  let ticks = [];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade += 1) {
    for (const step of steps) ticks.push(decade + Math.log10(step));
  }
  ticks = ticks.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9);
  const every = Math.ceil(ticks.length / (narrow.matches ? 5 : 9));
  ticks = ticks.filter((_, at) => at % every === 0);
  return { tickvals: ticks, ticktext: ticks.map((tick) => short(10 ** tick)) };
}

function layerTicks(columns, width) {
  const layers = columns.filter((layer) => layer !== OUTSIDE);
  const most = width < 600 ? 8 : 26;
  const every = [1, 2, 5, 10, 20, 50].find((step) => layers.length / step <= most) ?? 100;
  const shown = columns.map((layer, at) => [layer, at]).filter(([layer]) => layer === OUTSIDE || layer % every === 0);
  return { tickvals: shown.map(([, at]) => at), ticktext: shown.map(([layer]) => (layer === OUTSIDE ? tr("outside") : String(layer))) };
}

// What the columns of a map are: the layers, or what else is said of them.
const OVER_LAYERS = { title: () => tr("layer"), ticks: layerTicks, place: (cell) => cell.layer, lineTicks: () => ({}) };

// Diagonals over cells, dark on light so that they show on every colour and in print; `says` is
// what they mean.
function hatching(places, cellWidth, says = tr("hatched: the fit is not reliable")) {
  if (!places.length) return {};
  const middle = [-0.44, 0.44, 0.44, -0.44];
  // In narrow cells more than one would be a grey area.
  const strokes = cellWidth < 18 ? [middle] : [[-0.44, 0.02, 0.02, -0.44], middle, [-0.02, 0.44, 0.44, -0.02]];
  const path = places.flatMap(([x, y]) => strokes.map(([a, b, c, d]) => `M${x + a},${y + b}L${x + c},${y + d}`)).join("");
  const line = (of, width) => ({ type: "path", path, line: { color: of, width }, layer: "above" });
  return {
    shapes: [line("rgba(255,255,255,0.75)", 2.6), line("#111111", 1)],
    annotations: [{
      text: `╱╱ ${says}`, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
      showarrow: false, font: { size: 11 },
    }],
  };
}

// Pale diagonals the other way, over places that a sample leaves out.
function unsampledMarks(places) {
  if (!places.length) return {};
  const path = places.map(([x, y]) => `M${x - 0.44},${y - 0.44}L${x + 0.44},${y + 0.44}`).join("");
  return {
    shapes: [{ type: "path", path, line: { color: "#9aa0a6", width: 1 }, layer: "above" }],
    annotations: [{
      text: `╲ ${tr("not measured: outside the sample")}`, xref: "paper", yref: "paper", x: 1, y: 1, xanchor: "right", yanchor: "bottom",
      showarrow: false, font: { size: 11 },
    }],
  };
}

// Lowest and highest shade of several maps, so that one colour means one number in all.
function shadeRange(maps, shadeOf) {
  const seen = maps.flatMap((cells) => cells.all.map(shadeOf)).filter((value) => value !== null);
  return seen.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
}

// A map of one table's cells. `groups` are the lines of the map, `shadeOf` the number behind a
// cell's colour (null for none), `range` the ends of the colours; `log` for logarithms of numbers;
// `missing` what the places without a number mean, if they are to be hatched.
function drawMap(plot, cells, { groups, labels, shadeOf, range, hover, log, isDeviation, rowsAre, across = OVER_LAYERS, missing = null }) {
  const z = groups.map(() => cells.columns.map(() => null));
  const text = groups.map(() => cells.columns.map(() => ""));
  const at = groups.map(() => cells.columns.map(() => null));
  const column = new Map(cells.columns.map((layer, place) => [layer, place]));
  const line = new Map(groups.map((group, place) => [group, place]));
  const doubtful = [];
  for (const cell of cells.all) {
    const [y, x] = [line.get(cell.group), column.get(cell.layer)];
    z[y][x] = shadeOf(cell);
    text[y][x] = hover(cell);
    at[y][x] = cell.row;
    if (cell.isDoubtful && z[y][x] !== null) doubtful.push([x, y]);
  }
  const unsampled = (cells.unsampled ?? []).map((place) => [column.get(place.layer), line.get(place.group)]).filter(([x, y]) => x !== undefined && y !== undefined);
  const width = (plot.clientWidth - 150) / cells.columns.length;
  const empty = missing === null ? [] : z.flatMap((line, y) => line.flatMap((value, x) => (value === null ? [[x, y]] : [])));
  const over = [missing === null ? hatching(doubtful, width) : hatching(empty, width, missing), unsampledMarks(unsampled)].filter(({ shapes }) => shapes);
  const marks = over.length ? { shapes: over.flatMap(({ shapes }) => shapes), annotations: over.flatMap(({ annotations }) => annotations) } : {};
  const names = groups.map((group) => plotText(narrow.matches ? cut(labels.names[group], 16) : cut(labels.names[group], 40)));
  plot.style.minHeight = `${Math.max(220, Math.min(900, (narrow.matches ? 140 : 90) + (narrow.matches ? 26 : 32) * groups.length))}px`;
  const bar = {
    thickness: 12, outlinewidth: 0, ...(log && !isDeviation ? logTicks(...range) : {}),
    ...(narrow.matches ? { orientation: "h", y: -0.02, yanchor: "top", ypad: 52, nticks: 5 } : {}),
  };
  const scale = isDeviation
    ? { colorscale: [[0, "#2166ac"], [0.5, color("card")], [1, "#d6604d"]], zmin: -CLIPPED, zmax: CLIPPED }
    : { colorscale: "Viridis", ...(range[0] <= range[1] ? { zmin: range[0], zmax: range[1] } : {}) };
  draw(plot, [{
    type: "heatmap", z, text, customdata: at, hoverinfo: "text", hoverongaps: false, colorbar: bar, xgap: 1, ygap: 1, ...scale,
  }], {
    xaxis: axis({ title: { text: across.title() }, showgrid: false, ...across.ticks(cells.columns, plot.clientWidth) }),
    yaxis: axis({ title: { text: plotText(rowsAre) }, autorange: "reversed", showgrid: false, ...(rowsAre && names.length > 20 ? {} : { tickvals: names.map((_, n) => n), ticktext: names }) }),
    ...marks,
  });
}

// One line over the layers for each row of the map that has more than one layer; open points are
// those of fits that are not reliable. `range` are the ends of the vertical axis, if it is shared.
function drawLines(plot, cells, { labels, hover, log, title, range = null, across = OVER_LAYERS }) {
  const traces = [];
  for (const group of cells.groups) {
    const own = cells.all.filter((cell) => cell.group === group && cell.layer !== OUTSIDE).sort((a, b) => a.layer - b.layer);
    if (!own.length) continue;
    traces.push({
      type: "scatter", mode: own.length > 1 ? "lines+markers" : "markers", name: plotText(cut(labels.names[group], 40)),
      x: own.map((cell) => across.place(cell, cells.columns)), y: own.map((cell) => cell.value), text: own.map(hover), hoverinfo: "text",
      customdata: own.map((cell) => cell.row), line: lineStyle(traces.length),
      marker: { size: own.map((cell) => (cell.isDoubtful ? 7 : 4)), symbol: own.map((cell) => (cell.isDoubtful ? "circle-open" : "circle")) },
    });
  }
  const doubtful = cells.all.some((cell) => cell.isDoubtful && cell.layer !== OUTSIDE);
  const annotations = !doubtful ? [] : [{
    text: `○ ${tr("open points: the fit is not reliable")}`, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
    showarrow: false, font: { size: 11 },
  }];
  return draw(plot, traces, {
    xaxis: axis({ title: { text: across.title() }, ...across.lineTicks(cells.columns, plot.clientWidth) }),
    yaxis: axis({ title: { text: plotText(title) }, type: log ? "log" : "linear", exponentformat: "power", ...(range ? { range } : {}) }),
    showlegend: traces.length > 1, annotations,
    legend: narrow.matches ? { orientation: "h", y: -0.2, yanchor: "top" } : { orientation: "v" },
  });
}

// The ends of a vertical axis that holds the lines of several plots, with a margin.
function lineRange(maps, log) {
  const values = maps.flatMap((cells) => cells.all.filter((cell) => cell.layer !== OUTSIDE).map((cell) => (log ? Math.log10(cell.value) : cell.value)));
  const [low, high] = values.filter(Number.isFinite).reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const margin = 0.05 * (high - low || 1);
  return low <= high ? [low - margin, high + margin] : null;
}
