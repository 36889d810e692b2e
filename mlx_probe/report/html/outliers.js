// The ranked list of tensors that stand out, with kinds of reasons to filter by.

const PAGE = 25;
// How the kinds of reasons are called; the page's address has the kinds themselves.
const KINDS = new Map([["status", tr("status")], ["rank", tr("rank")], ["deviation", tr("deviation")], ["fit", tr("fit")]]);

function startOutliers() {
  const target = document.getElementById("outlier-list");
  const state = { run: runs[0], kind: "", shown: PAGE };
  const chips = element("div", { className: "controls" });
  const body = element("tbody");
  const more = element("button", { type: "button" });
  const none = element("p", {}, tr("No tensor stands out by this rule."));
  const head = element("tr", {}, ...["#", tr("Tensor"), tr("Layer"), tr("Block type"), tr("Reasons")].map((name) => element("th", { scope: "col" }, name)));
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: tr("Outliers") },
    element("table", {}, element("thead", {}, head), body));
  const which = element("select", { ariaLabel: tr("Run") }, ...runs.map((run) => option(run.letter, run.mark + run.name)));
  const controls = element("div", { className: "controls" }, ...(runs.length > 1 ? [element("label", {}, tr("run"), which)] : []), chips,
    saveButtons({ csv, names: () => ["outliers", runs.length > 1 ? state.run.letter : "", state.kind] }));
  target.append(controls, none, scroll, more);
  which.addEventListener("change", () => { choose({ run: runs.find((run) => run.letter === which.value), kind: "" }); remember(); });
  more.addEventListener("click", () => { state.shown += 4 * PAGE; render(); });

  function counts() {
    const kinds = new Map();
    for (const { reasons } of state.run.outliers) {
      for (const kind of new Set(reasons.map(([name]) => name))) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    return kinds;
  }

  const matching = () => state.run.outliers.map((outlier, at) => [outlier, at])
    .filter(([outlier]) => !state.kind || outlier.reasons.some(([kind]) => kind === state.kind));

  function csv() {
    const lines = matching().flatMap(([{ row, reasons }, at]) => reasons.map(([kind, text]) => [
      String(at + 1), csvText(state.run.label(row)), state.run.params.text("layer_index", row), csvText(state.run.group(row)), csvText(kind), csvText(text)]));
    return csvOf(["place", "tensor", "layer_index", "kind", "reason", "text"], lines);
  }

  function line(outlier, at) {
    const { run } = state;
    const name = element("button", { type: "button", className: "link" }, run.label(outlier.row));
    name.addEventListener("click", () => chooseTensor(run, outlier.row, true));
    const reasons = outlier.reasons.map(([kind, text]) => element("div", { className: "reason" }, element("span", { className: `badge ${kind}` }, KINDS.get(kind) ?? kind), element("span", {}, text)));
    return element("tr", {},
      element("td", { className: "number" }, String(at + 1)), element("td", { className: "wrap" }, name),
      element("td", { className: "number" }, run.params.text("layer_index", outlier.row)),
      element("td", {}, run.group(outlier.row)), element("td", { className: "wrap" }, ...reasons));
  }

  function choose(wanted) {
    Object.assign(state, { ...wanted, shown: PAGE });
    render();
  }

  function render() {
    const { outliers } = state.run;
    const kinds = [["", tr("all {count}", { count: outliers.length })], ...[...counts()].map(([kind, count]) => [kind, `${KINDS.get(kind) ?? kind} ${count}`])];
    chips.replaceChildren(...(outliers.length ? kinds : []).map(([kind, name]) => {
      const chip = element("button", { type: "button", ariaPressed: String(kind === state.kind) }, name);
      chip.addEventListener("click", () => { choose({ kind }); remember(); });
      return chip;
    }));
    which.value = state.run.letter;
    const rows = matching();
    body.replaceChildren(...rows.slice(0, state.shown).map(([outlier, at]) => line(outlier, at)));
    none.hidden = outliers.length > 0;
    scroll.hidden = !outliers.length;
    more.hidden = rows.length <= state.shown;
    more.textContent = tr("more ({count} left)", { count: rows.length - state.shown });
  }

  inAddress("outliers", () => ({ run: state.run === runs[0] ? "" : state.run.letter, kind: state.kind }), (given) => {
    const letter = given.one("run", runs.map((run) => run.letter), "A");
    state.run = runs.find((run) => run.letter === letter);
    choose({ kind: given.one("kind", [...counts().keys()], "") });
  });
}
