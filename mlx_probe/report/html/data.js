// The runs of the page and their tables, decoded from the page's JSON.

function decoded(text, Type) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
}

// Whole numbers, -1 for none.
function codesOf(entry) {
  if (entry.same !== undefined) return new Int32Array(entry.count).fill(entry.same);
  if (entry.in_order !== undefined) return Int32Array.from({ length: entry.in_order }, (_, at) => at);
  if (entry.i1 !== undefined) return decoded(entry.i1, Int8Array);
  return entry.i2 !== undefined ? decoded(entry.i2, Int16Array) : decoded(entry.i4, Int32Array);
}

// Texts that are written out, or templates with numbers.
function textsOf({ levels, templates, template, numbers: packed }) {
  if (levels !== undefined) return levels;
  const values = decoded(packed, Uint16Array);
  let at = 0;
  return Array.from(codesOf(template), (code) => templates[code].replace(/#/g, () => { at += 1; return values[at - 1]; }));
}

function numbers(entry) {
  if (entry.few !== undefined) {
    const values = numbers(entry.few);
    return values.constructor.from(codesOf(entry.codes), (code) => (code < 0 ? NaN : values[code]));
  }
  if (entry.rounded !== undefined) return rounded(entry.rounded);
  // Rounded to steps of their range; the last code is none.
  if (entry.u2 !== undefined) return Float32Array.from(decoded(entry.u2, Uint16Array), (code) => (code === 65535 ? NaN : entry.low + code * entry.step));
  return entry.f4 !== undefined ? decoded(entry.f4, Float32Array) : decoded(entry.f8, Float64Array);
}

// Rounded to steps of a factor, which five digits hold.
function rounded({ u2, low, step, signed }) {
  return Float64Array.from(decoded(u2, Uint16Array), (code) => {
    if (code >= 65534) return code === 65534 ? 0 : NaN;
    const size = Number(Math.exp(low + (signed ? code >> 1 : code) * step).toPrecision(5));
    return signed && code % 2 ? -size : size;
  });
}

// Made once: to format by `toLocaleString` takes twenty times as long.
const grouped = new Intl.NumberFormat("en-US");

class Table {
  constructor(name, described, run) {
    this.name = name;
    this.run = run;
    this.rows = described.rows;
    this.map = described.map;
    this.shown = described.shown;
    this.columns = new Map(described.columns.map((column) => [column.name, column.kind === "text" ? { ...column, levels: textsOf(column) } : column]));
    this.values = new Map();
  }

  has(name) { return this.columns.has(name); }

  // Numbers, or codes of texts; decoded when a column is first asked for.
  raw(name) {
    if (!this.values.has(name)) {
      const column = this.columns.get(name);
      this.values.set(name, column.kind === "text" ? codesOf(column.codes) : numbers(column));
    }
    return this.values.get(name);
  }

  number(name, row) { return this.has(name) ? this.raw(name)[row] : NaN; }

  text(name, row) {
    const column = this.columns.get(name);
    if (column === undefined) return "";
    const value = this.raw(name)[row];
    if (column.kind === "text") return value < 0 ? "" : column.levels[value];
    if (Number.isNaN(value)) return "";
    if (column.kind === "bool") return value ? tr("yes") : tr("no");
    return column.kind === "int" && !name.startsWith("layer_index") ? grouped.format(value) : short(value);
  }

  // Whether a sample leaves the row out, so that nothing but its header is known.
  isUnsampled(row) { return this.text("status", row) === "unsampled"; }

  // Whether the tail's fit, from which a metric comes, is marked as not reliable.
  isDoubtful(name, row) {
    return Boolean(this.columns.get(name)?.fit) && this.number("alpha_reliable", row) === 0;
  }
}

class Run {
  constructor(described, at) {
    Object.assign(this, {
      at, name: described.name, letter: String.fromCharCode(65 + at), groups: described.groups, groupNames: described.group_names,
      isCompare: described.compare, outliers: described.outliers, spectra: described.spectra, quantization: described.quantization,
      // Of training runs alone.
      curves: described.curves, snapshots: described.snapshots,
      // Of series alone.
      changes: described.changes,
    });
    this.tables = new Map(Object.entries(described.tables).map(([name, table]) => [name, new Table(name, table, this)]));
    this.params = this.tables.get("params");
  }

  label(row) {
    const { params } = this;
    let name = params.text("param_name", row) || params.text("other_name", row);
    if (params.text("expert_index", row)) name += `[${params.text("expert_index", row)}]`;
    if (params.text("part", row)) name += ` (${params.text("part", row)})`;
    return name;
  }

  group(row) { return this.groupNames[this.groups[row]]; }

  // What stands before a name where the page shows several runs.
  // There are 26 letters.
  get mark() { return runs.length > 1 && runs.length < 27 ? `${this.letter}: ` : ""; }
}

const runs = payload.runs.map((described, at) => new Run(described, at));

// The table of that name in each run that has it.
const tablesOf = (name) => runs.map((run) => run.tables.get(name)).filter((table) => table !== undefined);

// The description of a column in the first table that has it.
const columnOf = (tables, name) => tables.find((table) => table.has(name))?.columns.get(name);

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// A select with the metrics of tables by family.
function metricChooser(tables, names, onChange) {
  const select = element("select", { ariaLabel: tr("Metric") });
  const groups = new Map();
  for (const name of names) {
    const column = columnOf(tables, name);
    if (!groups.has(column.family)) groups.set(column.family, select.appendChild(element("optgroup", { label: column.family })));
    groups.get(column.family).append(option(name, titled(column)));
  }
  select.value = names[0];
  select.addEventListener("change", () => onChange(select.value));
  return select;
}

// Written out, with the column's name where the two differ.
function titled(column) {
  return column.title === column.name ? column.name : `${column.title} (${column.name})`;
}
