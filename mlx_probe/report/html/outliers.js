// The ranked list of tensors that stand out, with kinds of reasons to filter by.

const PAGE = 25;

function startOutliers() {
  const target = document.getElementById("outlier-list");
  const counts = new Map();
  for (const outlier of payload.outliers) {
    for (const kind of new Set(outlier.reasons.map(([name]) => name))) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  if (!counts.size) {
    target.append(element("p", {}, "No tensor stands out by this rule."));
    return;
  }
  const state = { kind: "", shown: PAGE };
  const chips = element("div", { className: "controls" });
  const body = element("tbody");
  const more = element("button", { type: "button" }, "more");
  const head = element("tr", {}, ...["", "tensor", "layer", "block type", "reasons"].map((name) => element("th", {}, name)));
  target.append(chips, element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), body)), more);
  for (const [kind, name] of [["", `all ${payload.outliers.length}`], ...[...counts].map(([k, n]) => [k, `${k} ${n}`])]) {
    const chip = element("button", { type: "button", ariaPressed: String(kind === "") }, name);
    chip.addEventListener("click", () => {
      Object.assign(state, { kind, shown: PAGE });
      chips.querySelectorAll("button").forEach((other) => { other.ariaPressed = String(other === chip); });
      render();
    });
    chips.append(chip);
  }
  more.addEventListener("click", () => { state.shown += 4 * PAGE; render(); });

  function line(outlier, at) {
    const name = element("button", { type: "button", className: "link" }, label(outlier.row));
    name.addEventListener("click", () => chooseTensor(outlier.row, true));
    const reasons = outlier.reasons.map(([kind, text]) => element("div", { className: "reason" }, element("span", { className: `badge ${kind}` }, kind), element("span", {}, text)));
    return element("tr", {},
      element("td", { className: "number" }, String(at + 1)), element("td", { className: "wrap" }, name),
      element("td", { className: "number" }, params.text("layer_index", outlier.row)),
      element("td", {}, payload.group_names[payload.groups[outlier.row]]), element("td", { className: "wrap" }, ...reasons));
  }

  function render() {
    const matching = payload.outliers
      .map((outlier, at) => [outlier, at])
      .filter(([outlier]) => !state.kind || outlier.reasons.some(([kind]) => kind === state.kind));
    body.replaceChildren(...matching.slice(0, state.shown).map(([outlier, at]) => line(outlier, at)));
    more.hidden = matching.length <= state.shown;
    more.textContent = `more (${matching.length - state.shown} left)`;
  }
  render();
}
