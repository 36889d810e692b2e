// One layer: its experts beside each other, and what is known of the chosen one.

// Tokens that a pair has to share: of fewer, lift is chance.
const SHARED = 3;
// Lift above which two experts go together; beside it 1 is rounded.
const TOGETHER = 1 + 1e-6;
// Pairs in the graph for each expert.
const PAIRS = ["0.5", "1", "2", "4"];

// Who works with whom, and who is alike: [key, name of the view, matrix, whether it is a graph].
const pairViews = () => [
  ["graph", tr("graph of lift"), "coactivation"], ["lift", tr("matrix of lift"), "coactivation"], ["similarity-graph", tr("graph of similarity"), "similarity"],
];

function startLayer() {
  const panel = document.getElementById("layer");
  const matrices = new Map(Object.entries(mixture.matrices).map(([name, described]) => [name, new LayerMatrices(name, described)]));
  const views = [...pairViews().filter(([, , name]) => matrices.has(name)),
    ...[...matrices.values()].map((one) => [one.name, one.described.title, one.name])];
  const facts = element("dl", { className: "facts narrow" });
  const about = element("p", { className: "note" });
  const hint = element("p", { className: "note" }, tr("Choose an expert to see its numbers."));
  const plot = element("div", { className: "plot" });
  const order = element("select", { ariaLabel: tr("Order") }, option("number", tr("number")), ...(mixture.load === null ? [] : [option("load", tr("load"))]));
  const view = element("select", { ariaLabel: tr("View") }, ...views.map(([key, name]) => option(key, name)));
  const pairs = element("select", { ariaLabel: tr("Pairs") }, ...PAIRS.map((share) => option(share, String(Math.max(1, Math.round(Number(share) * mixture.experts))))));
  const usual = { view: views[0]?.[0] ?? "", pairs: "1", order: "number" };
  const state = { ...usual };
  for (const [control, key] of [[view, "view"], [pairs, "pairs"], [order, "order"]]) {
    control.addEventListener("change", () => { state[key] = control.value; show(); remember(); });
  }
  const pairsLabel = element("label", {}, tr("strongest pairs"), pairs);
  const orderLabel = element("label", {}, tr("in the order of"), order);
  panel.append(element("div", { className: "controls" }, ...choosers(), ...(views.length ? [
    element("label", {}, tr("as"), view), pairsLabel, orderLabel,
    saveButtons({ plots: () => [plot], csv, names: () => [state.view, layerName()] })] : [])),
  about, element("div", { className: views.length ? "beside" : "" }, ...(views.length ? [plot] : []), element("div", {}, hint, facts)));

  const matrix = () => matrices.get(views.find(([key]) => key === state.view)[2]);
  const isGraph = () => state.view.endsWith("graph");
  const isLift = () => state.view === "graph" || state.view === "lift";

  // What is drawn of the chosen layer; null where the page has none.
  function valuesNow() {
    const one = matrix();
    if (!one.has(choice.layer)) return null;
    return isLift() ? liftOf(one.of(choice.layer), mixture.tokens) : one.of(choice.layer);
  }

  // Those that the graph may join.
  function joinable(values) {
    if (!isLift()) return values;
    const together = matrix().of(choice.layer);
    return values.map((row, a) => row.map((value, b) => (together[a][b] < SHARED || value < TOGETHER ? NaN : value)));
  }

  const titleNow = () => (isLift() ? tr("lift") : matrix().described.title);

  function csv() {
    const values = valuesNow() ?? [];
    const names = matrix().columns ?? values.map((_, at) => at);
    const cells = values.flatMap((row, a) => row.map((value, at) => [String(a), typeof names[at] === "number" ? String(names[at]) : csvText(names[at]), exactText(value, !isLift())]));
    return csvOf(["expert", matrix().isSquare ? "other" : "bin", isLift() ? "lift" : matrix().name], cells);
  }

  function said(expert) {
    const row = rowOf(expert);
    const lines = [`<b>${plotText(expertName(expert))}</b>`];
    if (row === undefined) return lines[0];
    if (mixture.load !== null) lines.push(`${plotText(experts.columns.get(mixture.load).title)} <b>${experts.text(mixture.load, row)}</b>`);
    for (const told of experts.map.told) if (experts.text(told, row)) lines.push(plotText(cut(experts.text(told, row), TOLD)));
    return lines.join("<br>");
  }

  function render() {
    if (!views.length) return;
    const values = valuesNow();
    plot.hidden = values === null;
    if (values === null) return;
    const loads = mixture.load === null ? Array.from({ length: mixture.experts }, () => 1) : numbersOf(mixture.load);
    if (isGraph()) {
      const kept = strongest(joinable(values), Math.max(1, Math.round(Number(state.pairs) * mixture.experts)));
      const saidOfPair = ([a, b, value]) => `${tr("experts {a} and {b}", { a, b })}<br>${plotText(titleNow())} <b>${short(value)}</b>`;
      drawGraph(plot, kept, { count: mixture.experts, loads, said, saidOfPair, chosen: choice.expert });
      return;
    }
    const numbersInOrder = loads.map((_, at) => at);
    if (state.order === "load") numbersInOrder.sort((a, b) => (loads[b] || 0) - (loads[a] || 0) || a - b);
    const square = matrix().isSquare;
    drawMatrix(plot, values, {
      names: matrix().columns, order: numbersInOrder, title: titleNow(), across: square ? tr("expert") : matrix().described.across,
      onBoth: square ? tr("experts {a} and {b}", { a: "%{y}", b: "%{x}" }) : `${tr("expert {expert}", { expert: "%{y}" })}, %{x}`,
    });
  }

  // Every number of the chosen expert.
  function showFacts() {
    const row = choice.expert === NO_EXPERT ? undefined : rowOf(choice.expert);
    hint.hidden = row !== undefined;
    const shown = row === undefined ? [] : mixture.facts.filter((name) => !["", "ok"].includes(experts.text(name, row))).map((name) => experts.columns.get(name));
    facts.replaceChildren(...shown.map((column) => element("div", {}, element("dt", {}, term(column)), element("dd", {}, cut(experts.text(column.name, row), 300)))));
  }

  function show() {
    Object.assign(view, { value: state.view });
    Object.assign(pairs, { value: state.pairs });
    Object.assign(order, { value: state.order });
    if (views.length) {
      [pairsLabel.hidden, orderLabel.hidden] = [!isGraph(), isGraph()];
      about.textContent = !matrix().has(choice.layer) ? tr("The page has no room for this matrix of this layer.")
        : isLift() ? tr("Lift says how many times more often two experts work on the same token than if each were chosen alone; above 1 they go together.")
          : matrix().described.about;
      if (isGraph()) about.append(...(mixture.load === null ? [] : [" ", tr("Larger circles have more load.")]), " ", tr("Thicker lines are stronger. Click an expert to choose it."), ...(isLift() ? [" ", tr("Pairs of a lift above 1 that share at least {count} tokens are joined.", { count: SHARED })] : []));
    }
    render();
    showFacts();
  }

  const keys = views.map(([key]) => key);
  inAddress("pairs", () => ({
    view: state.view === usual.view ? "" : state.view, count: state.pairs === usual.pairs ? "" : state.pairs, order: state.order === usual.order ? "" : state.order,
  }), (given) => {
    state.view = given.one("view", keys, usual.view);
    state.pairs = given.one("count", PAIRS, usual.pairs);
    state.order = given.one("order", ["number", "load"], usual.order);
    show();
  });
  followers.push(show);
  drawings.push(render);
  if (views.length) {
    plot.on("plotly_click", (event) => {
      const [point] = event.points;
      if (isGraph() && typeof point.customdata === "number") chooseExpert({ expert: point.customdata });
      if (!isGraph()) chooseExpert({ expert: Number(point.y) });
    });
  }
}
