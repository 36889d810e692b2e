// The layer and the expert that all panels of a mixture show.

// Tables that pair two runs are not in this page.
const paired = null;
const { mixture } = payload;
const experts = runs[0].tables.get("experts");
const NO_EXPERT = -1;
// The layer by its place among those that have experts.
const choice = { layer: 0, expert: NO_EXPERT };
const followers = [];

const layerName = (at = choice.layer) => tr("layer {layer}", { layer: visible(mixture.layers[at]) });

// The row of an expert, by "layer|expert".
const expertRows = new Map(mixture.places.map((layer, row) => [`${layer}|${experts.number("expert_index", row)}`, row]));
const rowOf = (expert, layer = choice.layer) => expertRows.get(`${layer}|${expert}`);

// A number of each expert of the chosen layer; NaN where there is none.
const numbersOf = (name) => Array.from({ length: mixture.experts }, (_, expert) => {
  const row = rowOf(expert);
  return row === undefined ? NaN : experts.number(name, row);
});

// Calls `work` now and whenever the choice changes.
function followed(work) {
  followers.push(work);
  work();
}

function chooseExpert(changes, move = "") {
  Object.assign(choice, changes);
  followers.forEach((work) => work());
  if (move) goTo(move);
  remember();
}

const expertName = (expert) => tr("expert {expert}", { expert });

// Choosers of the layer and the expert, which every panel has and which all show the same.
function choosers({ withExpert = true } = {}) {
  const layer = element("select", { ariaLabel: tr("Layer") }, ...mixture.layers.map((name, at) => option(String(at), name)));
  const expert = element("select", { ariaLabel: tr("Expert") }, option(String(NO_EXPERT), tr("none")),
    ...Array.from({ length: mixture.experts }, (_, at) => option(String(at))));
  const step = (sign, name, by) => {
    const button = element("button", { type: "button", ariaLabel: name, title: name }, sign);
    button.addEventListener("click", () => chooseExpert({ layer: choice.layer + by }));
    followers.push(() => { button.disabled = mixture.layers[choice.layer + by] === undefined; });
    return button;
  };
  layer.addEventListener("change", () => chooseExpert({ layer: Number(layer.value) }));
  expert.addEventListener("change", () => chooseExpert({ expert: Number(expert.value) }));
  const [back, on] = [step("←", tr("Layer before"), -1), step("→", tr("Next layer"), 1)];
  followed(() => { layer.value = String(choice.layer); expert.value = String(choice.expert); });
  followers.forEach((work) => work());
  return [element("label", {}, tr("layer"), layer), back, on, ...(withExpert ? [element("label", {}, tr("expert"), expert)] : [])];
}

function startChoice() {
  const expertNames = Array.from({ length: mixture.experts }, (_, at) => String(at));
  inAddress("layer", () => ({
    "": choice.layer ? mixture.layers[choice.layer] : "", expert: choice.expert === NO_EXPERT ? "" : String(choice.expert),
  }), (given) => {
    choice.layer = mixture.layers.indexOf(given.one("", mixture.layers, mixture.layers[0]));
    choice.expert = Number(given.one("expert", expertNames, String(NO_EXPERT)));
    followers.forEach((work) => work());
  });
}
