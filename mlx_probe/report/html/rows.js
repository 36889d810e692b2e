// Which rows of a table a filter keeps, and their order.

const NUMBER = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?`;
const CONDITION = new RegExp(String.raw`^(>=|<=|>|<|=)?\s*(${NUMBER})(?:\s*\.\.\s*(${NUMBER}))?$`);

// A test of one column: text holds it; numbers take > < >= <= = and a..b.
function tester(table, name, wanted) {
  const column = table.columns.get(name);
  const match = CONDITION.exec(wanted.trim());
  if (column.kind === "text" || column.kind === "bool" || match === null) {
    const needle = wanted.trim().toLowerCase();
    if (column.kind !== "text") return (row) => table.text(name, row).toLowerCase().includes(needle);
    const matching = column.levels.map((level) => level.toLowerCase().includes(needle));
    const codes = table.raw(name);
    return (row) => codes[row] >= 0 && matching[codes[row]];
  }
  const values = table.raw(name);
  const [low, high] = [Number(match[2]), Number(match[3] ?? match[2])];
  if (match[3] !== undefined) return (row) => values[row] >= low && values[row] <= high;
  switch (match[1]) {
    case ">": return (row) => values[row] > low;
    case "<": return (row) => values[row] < low;
    case ">=": return (row) => values[row] >= low;
    case "<=": return (row) => values[row] <= low;
    default: return (row) => table.text(name, row).replaceAll(",", "") === wanted.replace("=", "").trim() || values[row] === low;
  }
}

// Made once: to compare by `localeCompare` takes twenty times as long.
const { compare: byName } = new Intl.Collator("en", { numeric: true });

// Order of the rows by a column; rows without a value come last either way.
function sorted(table, rows, name, down) {
  const column = table.columns.get(name);
  let key = table.raw(name);
  if (column.kind === "text") {
    const order = column.levels.map((_, code) => code).sort((a, b) => byName(column.levels[a], column.levels[b]));
    const position = new Float64Array(order.length);
    order.forEach((code, at) => { position[code] = at; });
    key = Float64Array.from(key, (code) => (code < 0 ? NaN : position[code]));
  }
  const sign = down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [key[a], key[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
    return x === y ? a - b : sign * (x < y ? -1 : 1);
  });
}
