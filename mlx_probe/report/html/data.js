// The tables of the run, decoded from the page's JSON.

const payload = JSON.parse(document.getElementById("data").textContent);

function decoded(text, Type) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
}

function numbers(entry) {
  return entry.f4 !== undefined ? decoded(entry.f4, Float32Array) : decoded(entry.f8, Float64Array);
}

class Table {
  constructor(name, described) {
    this.name = name;
    this.rows = described.rows;
    this.map = described.map;
    this.shown = described.shown;
    this.columns = new Map(described.columns.map((column) => [column.name, column]));
    this.values = new Map();
  }

  has(name) { return this.columns.has(name); }

  // Numbers, or codes of texts; decoded when a column is first asked for.
  raw(name) {
    if (!this.values.has(name)) {
      const column = this.columns.get(name);
      this.values.set(name, column.kind === "text" ? decoded(column.codes, Int32Array) : numbers(column));
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
    if (column.kind === "bool") return value ? "yes" : "no";
    return column.kind === "int" && name !== "layer_index" ? value.toLocaleString("en-US") : short(value);
  }
}

const tables = Object.fromEntries(
  Object.entries(payload.tables).map(([name, described]) => [name, new Table(name, described)]));
const params = tables.params;
// The page holds every string that a file can hold; these two make it visible and harmless.
const visible = (text) =>
  String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
// Plotly reads a few tags and entities in its texts.
const plotText = (text) =>
  visible(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#8203;{");

function short(value) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return String(Number(value.toPrecision(4))).replace("e+", "e");
}

function label(row) {
  let name = params.text("param_name", row) || params.text("other_name", row);
  if (params.text("expert_index", row)) name += `[${params.text("expert_index", row)}]`;
  if (params.text("part", row)) name += ` (${params.text("part", row)})`;
  return name;
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// An element with properties, text and children; text is never read as HTML.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.map((child) => (child instanceof Node ? child : visible(child))));
  return made;
}

// A select with the metrics of a table by family.
function metricChooser(table, names, onChange) {
  const select = element("select", { ariaLabel: "Metric" });
  const groups = new Map();
  for (const name of names) {
    const column = table.columns.get(name);
    const family = column.family || "columns";
    if (!groups.has(family)) groups.set(family, select.appendChild(element("optgroup", { label: family })));
    groups.get(family).append(element("option", { value: name, title: column.about }, name));
  }
  select.value = names[0];
  select.addEventListener("change", () => onChange(select.value));
  return select;
}
