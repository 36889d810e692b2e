// What can be chosen: a tensor, or in a page of two runs a tensor of A with its counterpart in B.

const items = runs.length === 1
  ? { count: runs[0].params.rows, rows: (item) => [item], of: (run, row) => row }
  : pairedItems(payload.pairs);

function pairedItems({ a, b }) {
  const places = [new Map(), new Map()];
  a.forEach((row, item) => { if (row >= 0) places[0].set(row, item); });
  b.forEach((row, item) => { if (row >= 0) places[1].set(row, item); });
  return { count: a.length, rows: (item) => [a[item], b[item]], of: (run, row) => places[run.at].get(row) };
}

// The runs that have an item, with its row in each.
const holders = (item) => items.rows(item).map((row, at) => [runs[at], row]).filter(([, row]) => row >= 0);

function itemLabel(item) {
  const [[run, row]] = holders(item);
  return run.label(row);
}

function itemGroup(item) {
  const [[run, row]] = holders(item);
  return run.group(row);
}

// The rows of two runs as one table: each column as "name A", "name B", and for numbers "name B-A".
class PairedTable extends Table {
  constructor() {
    const tables = runs.map((run) => run.params);
    const { by } = payload.pairs;
    const ways = ["name", "role"];
    super("pairs", { rows: items.count, map: null, shown: [], columns: [] }, null);
    this.sources = new Map();
    const add = (column, values) => { this.columns.set(column.name, column); this.sources.set(column.name, values); };
    const names = [...new Set(tables.flatMap((table) => [...table.columns.keys()]))];
    const identity = { family: columnOf(tables, names[0]).family, filled: true, unit: "", plain: "", typical: "", caveat: "", source: "" };
    add({ ...identity, name: "tensor", title: tr("Tensor"), kind: "text", levels: null, about: tr("The tensor's name in A, or in B where only B has it.") }, () => this.texts(itemLabel));
    add({ ...identity, name: "block_type", title: tr("Block type"), kind: "text", levels: null, about: tr("The kind of tensor.") }, () => this.texts(itemGroup));
    add({ ...identity, name: "matched_by", title: tr("Matched by"), kind: "text", levels: ways, about: tr("Whether the two tensors have the same name or the same role; empty for one without counterpart.") }, () => Int32Array.from(by));
    for (const name of names) {
      const column = columnOf(tables, name);
      for (const [at, table] of tables.entries()) {
        if (table.has(name)) add({ ...table.columns.get(name), name: `${name} ${runs[at].letter}`, title: `${column.title} ${runs[at].letter}`, fit: false, levels: table.columns.get(name).levels }, () => this.own(table, name, at));
      }
      if (tables.every((table) => table.has(name) && ["int", "float"].includes(table.columns.get(name).kind)) && !name.endsWith("_index")) {
        add({ ...column, name: `${name} B-A`, title: `${column.title} B−A`, kind: "float", fit: false }, () => this.difference(name));
      }
    }
    this.shown = ["tensor", "matched_by", "block_type", "layer_index A", "shape A", "shape B",
      ...["rank", "stable_rank", "effective_rank", "std", "alpha"].flatMap((name) => [`${name} A`, `${name} B`, `${name} B-A`])]
      .filter((name) => this.has(name));
    for (const name of ["tensor", "block_type"]) this.raw(name);
  }

  isDoubtful(name, item) {
    const at = runs.findIndex((run) => name.endsWith(` ${run.letter}`));
    const row = items.rows(item)[at] ?? -1;
    return row >= 0 && runs[at].params.isDoubtful(name.slice(0, -2), row);
  }

  raw(name) {
    if (!this.values.has(name)) this.values.set(name, this.sources.get(name)());
    return this.values.get(name);
  }

  // Codes of a text of each item; sets the levels of the column that is being added.
  texts(textOf) {
    const codes = new Map();
    const values = Int32Array.from({ length: this.rows }, (_, item) => {
      const text = textOf(item);
      if (!codes.has(text)) codes.set(text, codes.size);
      return codes.get(text);
    });
    this.columns.get(textOf === itemLabel ? "tensor" : "block_type").levels = [...codes.keys()];
    return values;
  }

  own(table, name, at) {
    const values = table.raw(name);
    const isText = table.columns.get(name).kind === "text";
    const none = isText ? -1 : NaN;
    const made = new values.constructor(this.rows);
    return made.map((_, item) => { const row = items.rows(item)[at]; return row < 0 ? none : values[row]; });
  }

  difference(name) {
    const [a, b] = runs.map((run) => run.params.raw(name));
    return Float64Array.from({ length: this.rows }, (_, item) => { const [x, y] = items.rows(item); return x < 0 || y < 0 ? NaN : b[y] - a[x]; });
  }
}
