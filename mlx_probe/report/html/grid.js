// A table to sort, filter and choose columns of, a page at a time.

const LINES_OF_PAGE = 50;

function gridPanel(target, table) {
  const { key } = target.dataset;
  const state = { columns: [...table.shown], filters: new Map(), by: null, down: false, page: 0, rows: [] };
  const count = element("span", { className: "note", role: "status" });
  const [first, back, on, last] = [["«", tr("First page")], ["‹", tr("Page before")], ["›", tr("Next page")], ["»", tr("Last page")]]
    .map(([sign, name]) => element("button", { type: "button", ariaLabel: name, title: name }, sign));
  const clear = element("button", { type: "button" }, tr("clear filters"));
  const head = element("thead");
  const body = element("tbody");
  const boxes = new Map();
  const pages = () => Math.max(1, Math.ceil(state.rows.length / LINES_OF_PAGE));
  const go = (page) => { state.page = Math.max(0, Math.min(pages() - 1, page)); fill(); };
  const turn = (page) => { go(page()); remember(); };
  first.addEventListener("click", () => turn(() => 0));
  back.addEventListener("click", () => turn(() => state.page - 1));
  on.addEventListener("click", () => turn(() => state.page + 1));
  last.addEventListener("click", () => turn(() => pages() - 1));
  clear.addEventListener("click", () => { state.filters.clear(); show(); remember(); });
  target.append(chooser(),
    element("p", { className: "note" }, tr("Click a heading to sort. Filters: part of a text; for numbers 0.5, >0.5, <1e-3 or 3..5.")),
    element("div", { className: "controls" }, count, first, back, on, last, clear, saveButtons({ csv, names: () => [key === "table" ? "rows" : `${key}_rows`] })),
    element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: tr("Rows of {table}", { table: key }) }, element("table", {}, head, body)));

  // What the table shows, all its pages: the numbers in full.
  function csv() {
    return csvOf(state.columns, state.rows.map((row) => state.columns.map((name) => csvCell(table, name, row))));
  }

  function chooser() {
    const choices = element("div", { className: "choices" });
    const families = new Map();
    for (const column of table.columns.values()) families.set(column.family, [...(families.get(column.family) ?? []), column]);
    for (const [family, columns] of families) {
      choices.append(element("h3", {}, family));
      for (const column of columns) {
        const box = element("input", { type: "checkbox" });
        box.dataset.column = column.name;
        boxes.set(column.name, box);
        box.addEventListener("change", () => {
          const wanted = new Set(state.columns);
          if (box.checked) wanted.add(column.name); else { wanted.delete(column.name); state.filters.delete(column.name); }
          if (state.by === column.name && !box.checked) state.by = null;
          state.columns = [...wanted];
          show();
          remember();
        });
        const empty = column.filled ? "" : ` (${tr("empty")})`;
        choices.append(explained(element("label", {}, box, ` ${column.title}${empty}`), () => columnNodes(column)));
      }
    }
    return element("details", {}, element("summary", {}, tr("Columns ({count})", { count: table.columns.size })), choices);
  }

  function sortBy(column) {
    // Numbers largest first; the third click goes back to file order.
    const begin = column.kind !== "text";
    if (state.by !== column.name) Object.assign(state, { by: column.name, down: begin });
    else if (state.down === begin) state.down = !begin;
    else state.by = null;
    header();
    select();
    remember();
    head.querySelectorAll("button")[state.columns.indexOf(column.name)].focus({ preventScroll: true });
  }

  function header() {
    const cells = state.columns.map((name) => {
      const column = table.columns.get(name);
      const isSorted = state.by === name;
      const button = explained(element("button", { type: "button" }, column.title + (isSorted ? (state.down ? " ↓" : " ↑") : "")), () => columnNodes(column));
      button.dataset.column = name;
      button.addEventListener("click", () => sortBy(column));
      const filter = element("input", { value: state.filters.get(name) ?? "", ariaLabel: tr("Filter {column}", { column: column.title }) });
      filter.dataset.column = name;
      filter.addEventListener("input", () => {
        if (filter.value.trim()) state.filters.set(name, filter.value); else state.filters.delete(name);
        select();
        remember(true);
      });
      const cell = element("th", { className: column.kind === "text" ? "" : "number", scope: "col" }, button, element("br"), filter);
      if (isSorted) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      return cell;
    });
    head.replaceChildren(element("tr", {}, ...cells));
  }

  function select(page = 0) {
    const tests = [...state.filters].map(([name, wanted]) => tester(table, name, wanted));
    const rows = [];
    for (let row = 0; row < table.rows; row += 1) if (tests.every((test) => test(row))) rows.push(row);
    state.rows = state.by === null ? rows : sorted(table, rows, state.by, state.down);
    go(page);
  }

  function fill() {
    const from = state.page * LINES_OF_PAGE;
    const lines = state.rows.slice(from, from + LINES_OF_PAGE);
    body.replaceChildren(...lines.map((row) => element("tr", {}, ...state.columns.map((name) => cell(name, row)))));
    const [rows, all] = [state.rows.length, table.rows].map((number) => number.toLocaleString("en-US"));
    count.textContent = [
      lines.length > 1 ? tr("{from} to {to} of {rows} rows", { from: from + 1, to: from + lines.length, rows }) : lines.length ? tr("row {from} of {rows}", { from: from + 1, rows }) : tr("{rows} rows", { rows }),
      state.rows.length < table.rows ? tr("(all: {all})", { all }) : "",
    ].filter(Boolean).join(" ");
    first.disabled = back.disabled = state.page === 0;
    on.disabled = last.disabled = state.page >= pages() - 1;
    clear.disabled = state.filters.size === 0;
  }

  // The tensor that a name in a cell stands for: [run, row].
  function meant(name, row) {
    if (table === paired) return name === "tensor" ? holders(row)[0] : undefined;
    const isName = table === table.run.params && (name === "param_name" || name === "other_name");
    return isName ? [table.run, row] : undefined;
  }

  function cell(name, row) {
    const text = table.text(name, row);
    const tensor = text ? meant(name, row) : undefined;
    if (tensor !== undefined) {
      const button = element("button", { type: "button", className: "link" }, text);
      button.addEventListener("click", () => chooseTensor(...tensor, true));
      return element("td", {}, button);
    }
    const isText = table.columns.get(name).kind === "text";
    const made = element("td", { className: isText ? (text.length > 60 ? "wrap" : "") : "number" }, text);
    if (table.isDoubtful(name, row) && text) {
      made.classList.add("doubtful");
      made.title = tr("the fit is not reliable");
    }
    return made;
  }

  function show(page = 0) {
    for (const [name, box] of boxes) box.checked = state.columns.includes(name);
    header();
    select(page);
  }

  const listed = (names) => names.map(encodeURIComponent).join(",");
  inAddress(key, () => ({
    columns: listed(state.columns) === listed(table.shown) ? "" : listed(state.columns),
    sort: state.by === null ? "" : (state.down ? "-" : "") + state.by,
    page: state.page ? String(state.page + 1) : "",
    ...Object.fromEntries([...state.filters].map(([name, wanted]) => [`filter.${name}`, wanted])),
  }), (given) => {
    state.columns = columnsIn(given);
    const sort = given.take("sort") ?? "";
    state.down = sort.startsWith("-");
    state.by = state.columns.find((name) => name === sort.replace(/^-/, "")) ?? null;
    if (sort && state.by === null) given.ignore("sort", sort);
    state.filters.clear();
    for (const name of state.columns) {
      const wanted = given.take(`filter.${name}`);
      if (wanted?.trim()) state.filters.set(name, wanted);
    }
    const page = given.take("page");
    if (page !== undefined && !/^[1-9]\d{0,8}$/.test(page)) given.ignore("page", page);
    show(Number(page) - 1 || 0);
  });

  function columnsIn(given) {
    const text = given.take("columns");
    if (text === undefined) return [...table.shown];
    const names = text.split(",").map((name) => { try { return decodeURIComponent(name); } catch { return name; } });
    const known = [...new Set(names)].filter((name) => table.has(name));
    const unknown = names.filter((name) => !table.has(name));
    if (unknown.length) given.ignore("columns", unknown.join(","));
    return known.length ? known : [...table.shown];
  }
}
