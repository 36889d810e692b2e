// A table to sort, filter and choose columns of, a page at a time.

const LINES_OF_PAGE = 50;

// A test of one column: text holds it; numbers take > < >= <= = and a..b.
function tester(table, name, wanted) {
  const column = table.columns.get(name);
  const match = /^(>=|<=|>|<|=)?\s*([-+.\deE]+)(?:\s*\.\.\s*([-+.\deE]+))?$/.exec(wanted.trim());
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

// Order of the rows by a column; rows without a value come last either way.
function sorted(table, rows, name, down) {
  const column = table.columns.get(name);
  let key = table.raw(name);
  if (column.kind === "text") {
    const order = column.levels.map((_, code) => code).sort((a, b) => column.levels[a].localeCompare(column.levels[b], "en", { numeric: true }));
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

function gridPanel(target) {
  const table = tables[target.dataset.table];
  const state = { columns: [...table.shown], filters: new Map(), by: null, down: false, page: 0, rows: [] };
  const count = element("span", { className: "note" });
  const [first, back, on, last] = ["«", "‹", "›", "»"].map((sign) => element("button", { type: "button" }, sign));
  const clear = element("button", { type: "button" }, "clear filters");
  const head = element("thead");
  const body = element("tbody");
  const pages = () => Math.max(1, Math.ceil(state.rows.length / LINES_OF_PAGE));
  const go = (page) => { state.page = Math.max(0, Math.min(pages() - 1, page)); fill(); };
  first.addEventListener("click", () => go(0));
  back.addEventListener("click", () => go(state.page - 1));
  on.addEventListener("click", () => go(state.page + 1));
  last.addEventListener("click", () => go(pages() - 1));
  clear.addEventListener("click", () => { state.filters.clear(); header(); select(); });
  target.append(chooser(), element("p", { className: "note" },
    "Click a heading to sort. Filters: part of a text; for numbers 0.5, >0.5, <1e-3 or 3..5."),
  element("div", { className: "controls" }, count, first, back, on, last, clear),
  element("div", { className: "scroll" }, element("table", {}, head, body)));

  function chooser() {
    const choices = element("div", { className: "choices" });
    const families = new Map();
    for (const column of table.columns.values()) {
      const family = column.family || "columns";
      families.set(family, [...(families.get(family) ?? []), column]);
    }
    for (const [family, columns] of families) {
      choices.append(element("h4", {}, family));
      for (const column of columns) {
        const box = element("input", { type: "checkbox", checked: state.columns.includes(column.name) });
        box.addEventListener("change", () => {
          const wanted = new Set(state.columns);
          if (box.checked) wanted.add(column.name); else { wanted.delete(column.name); state.filters.delete(column.name); }
          state.columns = [...wanted];
          header();
          select();
        });
        choices.append(element("label", { title: column.about }, box, ` ${column.name}${column.filled ? "" : " (empty)"}`));
      }
    }
    return element("details", {}, element("summary", {}, `Columns (${table.columns.size})`), choices);
  }

  function header() {
    const cells = state.columns.map((name) => {
      const column = table.columns.get(name);
      const arrow = state.by === name ? (state.down ? " ↓" : " ↑") : "";
      const button = element("button", { type: "button", title: column.about }, name + arrow);
      button.addEventListener("click", () => {
        const again = state.by === name;
        // Numbers largest first; the third click goes back to file order.
        const begin = column.kind !== "text";
        if (!again) Object.assign(state, { by: name, down: begin });
        else if (state.down === begin) state.down = !begin;
        else state.by = null;
        header();
        select();
      });
      const filter = element("input", { value: state.filters.get(name) ?? "", ariaLabel: `Filter ${name}` });
      filter.addEventListener("input", () => {
        if (filter.value.trim()) state.filters.set(name, filter.value); else state.filters.delete(name);
        select();
      });
      return element("th", { className: column.kind === "text" ? "" : "number" }, button, element("br"), filter);
    });
    head.replaceChildren(element("tr", {}, ...cells));
  }

  function select() {
    const tests = [...state.filters].map(([name, wanted]) => tester(table, name, wanted));
    const rows = [];
    for (let row = 0; row < table.rows; row += 1) if (tests.every((test) => test(row))) rows.push(row);
    state.rows = state.by === null ? rows : sorted(table, rows, state.by, state.down);
    go(0);
  }

  function fill() {
    const from = state.page * LINES_OF_PAGE;
    const lines = state.rows.slice(from, from + LINES_OF_PAGE);
    body.replaceChildren(...lines.map((row) => {
      const line = element("tr", {}, ...state.columns.map((name) => cell(name, row)));
      return line;
    }));
    const range = lines.length ? `${from + 1} to ${from + lines.length} of ` : "";
    count.textContent = `${range}${state.rows.length.toLocaleString("en-US")} rows`
      + (state.rows.length < table.rows ? ` (of ${table.rows.toLocaleString("en-US")})` : "");
    first.disabled = back.disabled = state.page === 0;
    on.disabled = last.disabled = state.page >= pages() - 1;
    clear.disabled = state.filters.size === 0;
  }

  function cell(name, row) {
    const text = table.text(name, row);
    if (table === params && text && (name === "param_name" || name === "other_name")) {
      const button = element("button", { type: "button", className: "link" }, text);
      button.addEventListener("click", () => chooseTensor(row, true));
      return element("td", {}, button);
    }
    const isText = table.columns.get(name).kind === "text";
    return element("td", { className: isText ? (text.length > 60 ? "wrap" : "") : "number" }, text);
  }

  header();
  select();
}
