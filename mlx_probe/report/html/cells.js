// The numbers of a map: one cell for each layer and each kind of tensor, head or expert.

const OUTSIDE = "outside";
// Characters of a text that a cell says.
const TOLD = 90;

// The column with a row's layer.
const layerColumn = (table) => table.map?.layers ?? "layer_index";

// What the rows of maps are: block types, or heads, or experts; the same for all tables, so that
// two runs can be compared. `of` has the label's number for each row, by table.
function rowLabels(tables) {
  const { rows } = tables[0].map;
  if (rows === null) {
    const names = [...new Set(tables.flatMap((table) => table.run.groupNames))];
    const position = new Map(names.map((name, at) => [name, at]));
    const own = (table) => table.run.groups.map((group) => position.get(table.run.groupNames[group]));
    return { names, of: new Map(tables.map((table) => [table, own(table)])) };
  }
  const values = tables.flatMap((table) => [...table.raw(rows)]);
  const present = [...new Set(values)].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  const position = new Map(present.map((value, at) => [value, at]));
  const own = (table) => Array.from(table.raw(rows), (value) => position.get(value) ?? -1);
  return { names: present.map(String), of: new Map(tables.map((table) => [table, own(table)])) };
}

// The cells of a map: median, range, number and first row of the values in each. `unsampled` are
// the places of the same groups of which no row was measured.
function cellsOf(table, metric, labels, keep = () => true) {
  const values = table.has(metric) ? table.raw(metric) : new Float64Array(table.rows).fill(NaN);
  const place = layerColumn(table);
  const layers = table.has(place) ? table.raw(place) : new Float64Array(table.rows).fill(NaN);
  const of = labels.of.get(table);
  const [cells, left] = [new Map(), new Map()];
  for (let row = 0; row < table.rows; row += 1) {
    if (of[row] < 0 || !keep(row)) continue;
    const layer = Number.isNaN(layers[row]) ? OUTSIDE : layers[row];
    const key = `${of[row]}|${layer}`;
    if (Number.isNaN(values[row])) {
      if (table.isUnsampled(row)) left.set(key, { group: of[row], layer, rows: (left.get(key)?.rows ?? 0) + 1 });
      continue;
    }
    if (!cells.has(key)) cells.set(key, { table, group: of[row], layer, values: [], row, doubtful: 0 });
    const cell = cells.get(key);
    cell.values.push(values[row]);
    cell.doubtful += table.isDoubtful(metric, row);
  }
  for (const [key, cell] of cells) {
    cell.unsampled = left.get(key)?.rows ?? 0;
    cell.value = median(cell.values);
    cell.low = cell.values.reduce((a, b) => Math.min(a, b));
    cell.high = cell.values.reduce((a, b) => Math.max(a, b));
    // The median of fits of which most are not reliable is not reliable.
    cell.isDoubtful = 2 * cell.doubtful > cell.values.length;
  }
  const all = [...cells.values()];
  const known = new Set(all.map((cell) => cell.group));
  const unsampled = [...left].filter(([key, place]) => !cells.has(key) && known.has(place.group)).map(([, place]) => place);
  const last = [...all, ...unsampled].reduce((most, cell) => (cell.layer === OUTSIDE ? most : Math.max(most, cell.layer)), -1);
  const columns = Array.from({ length: last + 1 }, (_, layer) => layer);
  if (all.some((cell) => cell.layer === OUTSIDE)) columns.push(OUTSIDE);
  return { all, columns, unsampled, groups: [...known].sort((a, b) => a - b) };
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

// What a cell says when one points at it.
function cellHover(cell, metric, labels, rowsAre) {
  const name = labels.names[cell.group];
  const where = cell.layer === OUTSIDE ? tr("outside the layers") : tr("layer {layer}", { layer: cell.layer });
  const { run } = cell.table;
  const lines = [`<b>${plotText(run.mark + rowsAre + name)}</b>, ${where}`, `${plotText(metric)} <b>${short(cell.value)}</b>`];
  if (cell.values.length > 1) {
    lines.push(tr("median of {count}: {low} to {high}", { count: cell.values.length, low: short(cell.low), high: short(cell.high) }));
  }
  if (cell.unsampled) {
    const count = cell.values.length;
    lines.push(tr("{count} of {all} are measured", { count, all: count + cell.unsampled }));
  }
  if (cell.doubtful && cell.values.length > 1) {
    lines.push(tr("{count} of {all} fits are not reliable", { count: cell.doubtful, all: cell.values.length }));
  } else if (cell.doubtful) lines.push(tr("the fit is not reliable"));
  if (cell.table === run.params) lines.push(plotText(run.label(cell.row)));
  for (const told of cell.table.map.told ?? []) {
    const text = cell.table.text(told, cell.row);
    if (text) lines.push(`${plotText(cell.table.columns.get(told).title)}: ${plotText(cut(text, TOLD))}`);
  }
  return lines.join("<br>");
}

// The cells of maps as CSV.
function cellsCsv(maps, metric, labels) {
  const several = runs.length > 1;
  const shown = maps.flatMap((cells) => cells.all);
  const rows = shown.length ? shown[0].table.map.rows : null;
  const heads = [...(several ? ["run"] : []), rows ?? "kind", shown.length ? layerColumn(shown[0].table) : "layer_index", metric, "lowest", "highest", "values", "unreliable_fits"];
  return csvOf(heads, shown.map((cell) => {
    const single = cell.table.raw(metric) instanceof Float32Array;
    return [
      ...(several ? [csvText(cell.table.run.name)] : []), csvText(labels.names[cell.group]),
      cell.layer === OUTSIDE ? "" : String(cell.layer), exactText(cell.value, single && cell.values.length % 2 === 1),
      exactText(cell.low, single), exactText(cell.high, single), String(cell.values.length), String(cell.doubtful),
    ];
  }));
}
