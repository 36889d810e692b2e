// Blocks of the residual stream over the layers ("SPS"): summed over a text, or token by token.

// Milliseconds between two tokens that play.
const FRAME = 400;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function startBlockMap() {
  const panel = document.getElementById("sps");
  if (panel === null) return;
  const { sps } = payload;
  const size = sps.layers.length * sps.blocks;
  const [sum, each] = [numbers(sps.sum), sps.each === null ? null : numbers(sps.each)];
  const texts = sps.texts;
  // A token by itself, or all of them.
  const ALL = -1;
  const state = { at: ALL };
  const largest = (values) => values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0) || 1;
  // One colour means one number in all tokens.
  const ends = { sum: largest(sum), each: each === null ? 1 : largest(each) };
  const plot = element("div", { className: "plot" });
  const shown = element("output", {}, "");
  const slider = element("input", { type: "range", className: "step", min: "0", max: String(Math.max(0, texts.length - 1)), step: "1", ariaLabel: tr("Token") });
  slider.setAttribute("aria-label", tr("Token"));
  const button = (text, title, work) => {
    const made = element("button", { type: "button", title }, text);
    made.setAttribute("aria-label", title);
    made.addEventListener("click", work);
    return made;
  };
  const whole = element("button", { type: "button" }, tr("All tokens"));
  const play = element("button", { type: "button" });
  const [back, on] = [button("←", tr("Token before"), () => go(state.at - 1)), button("→", tr("Next token"), () => go(state.at + 1))];
  const still = element("span", { className: "note" }, tr("Your system asks for less motion: go on by the arrows."));
  const strip = new TokenStrip(texts, { onClick: go, onMove: go });
  let timer = 0;
  whole.addEventListener("click", () => go(ALL));
  play.addEventListener("click", () => { if (timer) stop(); else start(); });
  slider.addEventListener("input", () => go(Number(slider.value), true));
  calm.addEventListener("change", () => { stop(); show(); });
  panel.append(
    element("p", { className: "note" }, tr("Red: a block that is more active than its layer while the loss depends on it less; blue: the reverse. z of the mean activation minus z of the gradient norm, over the blocks of a layer: a heuristic."),
      ...(sps.cut ? [" ", tr("The page has room for the first {count} tokens.", { count: texts.length })] : [])),
    element("div", { className: "controls" }, ...(each === null ? [] : [whole, back, play, on, slider, shown, still]),
      saveButtons({ plots: () => [plot], csv, names: () => ["sps", state.at === ALL ? "" : String(state.at)] })),
    plot, ...(each === null ? [] : [strip.element]));

  const valuesNow = () => (state.at === ALL ? sum : each.subarray(state.at * size, (state.at + 1) * size));
  const lines = () => { const values = valuesNow(); return sps.layers.map((_, line) => Array.from(values.subarray(line * sps.blocks, (line + 1) * sps.blocks))); };

  function csv() {
    return csvOf(["layer", "block", "sps"], lines().flatMap((line, at) => line.map((value, block) => [String(sps.layers[at]), String(block), exactText(value, true)])));
  }

  function start() {
    if (state.at === ALL || state.at === texts.length - 1) go(0, true);
    timer = setInterval(() => {
      go(state.at + 1, true);
      if (state.at === texts.length - 1) stop();
    }, FRAME);
    show();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    show();
  }

  // `isPassing` is for what plays: it leaves no step for the back button.
  function go(at, isPassing = false) {
    if (!isPassing && timer) stop();
    state.at = Math.max(ALL, Math.min(texts.length - 1, at));
    if (state.at !== ALL) strip.move(state.at);
    show();
    remember(isPassing);
  }

  function render() {
    const z = lines().map((line) => line.map((value) => (Number.isFinite(value) ? value : null)));
    const end = state.at === ALL ? ends.sum : ends.each;
    plot.style.height = `${Math.max(260, Math.min(760, (narrow.matches ? 150 : 110) + 16 * sps.layers.length))}px`;
    draw(plot, [{
      type: "heatmap", z, y: sps.layers.map(String), zmin: -end, zmax: end, colorscale: [[0, "#2166ac"], [0.5, color("card")], [1, "#d6604d"]], xgap: 1, ygap: 1,
      hovertemplate: `${tr("layer {layer}", { layer: "%{y}" })}, ${tr("block {block}", { block: "%{x}" })}<br><b>%{z:.4g}</b><extra></extra>`,
      colorbar: { thickness: 12, outlinewidth: 0, ...(narrow.matches ? { orientation: "h", y: -0.02, yanchor: "top", ypad: 52, nticks: 5 } : {}) },
    }], {
      xaxis: axis({ title: { text: sps.block === null ? tr("block") : tr("block of {count} units", { count: sps.block }) }, showgrid: false, ...(sps.blocks <= 12 ? { dtick: 1 } : {}) }),
      yaxis: axis({ title: { text: tr("layer") }, type: "category", showgrid: false, nticks: 20 }),
    });
  }

  function show() {
    const isAll = state.at === ALL;
    play.textContent = timer ? tr("Stop") : tr("Play");
    play.disabled = calm.matches;
    still.hidden = !calm.matches;
    back.disabled = isAll;
    on.disabled = state.at === texts.length - 1;
    whole.setAttribute("aria-pressed", String(isAll));
    slider.value = String(Math.max(0, state.at));
    const said = isAll ? tr("sum over all tokens") : tr("token {at} of {all}", { at: state.at + 1, all: texts.length });
    slider.setAttribute("aria-valuetext", said);
    shown.textContent = said;
    strip.buttons.forEach((one, at) => {
      one.classList.toggle("marked", at === state.at);
      if (at === state.at) one.setAttribute("aria-current", "true"); else one.removeAttribute("aria-current");
    });
    render();
  }

  inAddress("sps", () => ({ token: state.at === ALL ? "" : String(state.at) }), (given) => {
    state.at = Number(given.one("token", texts.map((_, at) => String(at)), String(ALL)));
    show();
  });
  drawings.push(render);
}
