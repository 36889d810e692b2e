// A text as the router saw it: each token with its experts.

// Experts that have a button.
const MOST_CHIPS = 24;
const NONE = 65535;
// How far a colour goes, so that text on it stays readable.
const STRONGEST = 0.45;

// The experts and weights of tokens in all layers, the heaviest expert first.
class Routing {
  constructor(described) {
    Object.assign(this, { texts: described.texts, width: described.width, cut: described.cut });
    this.layers = mixture.layers.length;
    this.experts = decoded(described.experts, Uint16Array);
    this.weights = numbers(described.weights);
  }

  // [expert, weight] of a token in a layer.
  of(token, layer) {
    const from = (token * this.layers + layer) * this.width;
    const found = [];
    for (let at = from; at < from + this.width && this.experts[at] !== NONE; at += 1) found.push([this.experts[at], this.weights[at]]);
    return found;
  }
}

// Bits that say which of its experts a token's weight lies on.
function entropyOf(routed) {
  const sum = routed.reduce((total, [, weight]) => total + weight, 0) || 1;
  return routed.reduce((bits, [, weight]) => (weight > 0 ? bits - (weight / sum) * Math.log2(weight / sum) : bits), 0);
}

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// The accent on the card, as strong as a share of the strongest.
function tint(share) {
  const [over, below] = [channels(color("accent")), channels(color("card"))];
  const by = STRONGEST * Math.max(0, Math.min(1, share));
  return `rgb(${below.map((value, at) => Math.round(value + by * (over[at] - value))).join(",")})`;
}

// A colour for each expert; neighbours differ most.
function hueOf(expert) {
  const isDark = channels(color("card"))[0] < 128;
  return `hsl(${Math.round((expert * 137.508) % 360)} ${isDark ? "42% 25%" : "75% 86%"})`;
}

function startRouting() {
  const panel = document.getElementById("routing");
  if (panel === null) return;
  const routing = new Routing(mixture.routing);
  const views = [["first", tr("its first expert")], ["weight", tr("the weight of the first")], ["entropy", tr("the entropy of its weights")],
    ["count", tr("how many experts it has")], ["expert", tr("the weight of the chosen expert")]];
  const usual = "first";
  const state = { view: usual };
  const view = element("select", { ariaLabel: tr("Colour") }, ...views.map(([key, name]) => option(key, name)));
  const chips = element("div", { className: "controls chips" });
  const strip = new TokenStrip(routing.texts, { nodes: tokenNodes, onClick: (at) => {
    const [first] = routing.of(at, choice.layer);
    if (first) chooseExpert({ expert: first[0] });
  } });
  const told = element("p", { className: "note", role: "status" });
  view.addEventListener("change", () => { state.view = view.value; render(); remember(); });
  panel.append(element("div", { className: "controls" }, ...choosers(), element("label", {}, tr("colour"), view),
    saveButtons({ csv, names: () => ["routing", layerName()] })),
  element("p", { className: "note" }, tr("Point at a token, or go through them with the arrow keys, to see its experts in all layers. Click an expert to mark its tokens."),
    ...(routing.cut ? [" ", tr("The page has room for the first {count} tokens.", { count: routing.texts.length })] : [])),
  chips, told, strip.element);

  function csv() {
    const lines = routing.texts.flatMap((token, at) => routing.of(at, choice.layer).map(([expert, weight]) =>
      [String(at), csvText(token), csvText(mixture.layers[choice.layer]), String(expert), exactText(weight, true)]));
    return csvOf(["token", "text", "layer", "expert", "weight"], lines);
  }

  // Every layer of a token, the chosen one first.
  function tokenNodes(at) {
    const places = mixture.layers.map((_, layer) => layer);
    const layers = [choice.layer, ...places.filter((layer) => layer !== choice.layer)];
    const line = (layer) => [element("dt", {}, layerName(layer)),
      element("dd", {}, routing.of(at, layer).map(([expert, weight]) => `${expert} (${short(Number(weight.toPrecision(2)))})`).join(", ") || tr("none"))];
    return [element("p", {}, element("strong", {}, tr("Token {at}", { at })), " ", element("code", {}, JSON.stringify(routing.texts[at]))),
      element("p", {}, tr("Experts, with their weights:")), element("dl", {}, ...layers.flatMap(line))];
  }

  // The number behind a token's colour.
  function numberOf(routed) {
    if (!routed.length) return NaN;
    if (state.view === "weight") return routed[0][1];
    if (state.view === "entropy") return entropyOf(routed);
    if (state.view === "count") return routed.length;
    return routed.find(([expert]) => expert === choice.expert)?.[1] ?? 0;
  }

  // The colours of all tokens of a layer: of numbers they go from the least to the largest.
  function shades(layer) {
    const routed = routing.texts.map((_, at) => routing.of(at, layer));
    if (state.view === "first") return { colours: routed.map((one) => (one.length ? hueOf(one[0][0]) : "transparent")), range: null };
    const values = routed.map(numberOf);
    const [low, high] = values.filter(Number.isFinite).reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    return { colours: values.map((value) => (Number.isFinite(value) ? tint((value - low) / (high - low || 1)) : "transparent")), range: [low, high] };
  }

  function render() {
    const layer = choice.layer;
    const counts = new Map();
    let marked = 0;
    const { colours, range } = shades(layer);
    strip.buttons.forEach((button, at) => {
      const routed = routing.of(at, layer);
      routed.forEach(([expert]) => counts.set(expert, (counts.get(expert) ?? 0) + 1));
      const isMarked = routed.some(([expert]) => expert === choice.expert);
      marked += isMarked;
      button.style.background = colours[at];
      button.classList.toggle("marked", isMarked);
    });
    const most = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    // The chosen one has a button even where others have more tokens.
    const shown = most.filter(([expert], at) => at < MOST_CHIPS || expert === choice.expert);
    chips.replaceChildren(...shown.map(([expert, count]) => {
      const chip = element("button", { type: "button", ariaPressed: String(expert === choice.expert) }, `${expert}: ${count}`);
      chip.setAttribute("aria-pressed", String(expert === choice.expert));
      chip.title = tr("expert {expert}: {count} tokens of this text", { expert, count });
      chip.style.background = state.view === "first" ? hueOf(expert) : "";
      chip.addEventListener("click", () => chooseExpert({ expert: expert === choice.expert ? NO_EXPERT : expert }));
      return chip;
    }), ...(most.length > shown.length ? [element("span", { className: "note" }, tr("and {count} more", { count: most.length - shown.length }))] : []));
    const marks = choice.expert === NO_EXPERT ? "" : tr("Expert {expert} works on {count} of {all} tokens in layer {layer}; they are outlined.", { expert: choice.expert, count: marked, all: strip.buttons.length, layer: mixture.layers[choice.layer] });
    told.textContent = [marks, range === null ? "" : tr("Colours go from {low} to {high}.", { low: short(range[0]), high: short(range[1]) })].filter(Boolean).join(" ");
    Object.assign(view, { value: state.view });
  }

  inAddress("routing", () => ({ colour: state.view === usual ? "" : state.view }), (given) => {
    state.view = given.one("colour", views.map(([key]) => key), usual);
    render();
  });
  followers.push(render);
  drawn(render);
}
