// The panel of one tensor: choosing it, its spectrum, its numbers.

const chosenTensor = { item: -1, first: -1, siblings: false };
const withSpectra = runs.some((run) => run.spectra);

// The runs' tensors that have a spectrum in this page: [run, row, own].
const drawnTensors = () => holders(chosenTensor.item)
  .map(([run, row]) => [run, row, sigmaOf(run, row)]).filter(([, , own]) => own !== undefined);

function drawSpectrum() {
  const target = document.getElementById("spectrum");
  const kept = runs.filter((run) => run.spectra && run.spectra.kept < run.spectra.total).map(({ mark, spectra }) => mark
    + tr("{kept} of {total} spectra are in this page: those of the outliers first, then of dense tensors, then of experts.", { kept: spectra.kept, total: spectra.total }));
  const shown = chosenTensor.item < 0 ? [] : drawnTensors();
  const missing = tr("This tensor has no spectrum here: it is a vector, is not finite, or is not among those kept.");
  document.getElementById("spectrum-note").textContent = [...kept, ...(shown.length ? [] : [missing])].join(" ");
  target.style.visibility = shown.length ? "visible" : "hidden";
  if (shown.length) drawSpectra(target, shown, chosenTensor.siblings);
}

function showFacts() {
  const facts = document.getElementById("tensor-facts");
  facts.replaceChildren();
  const held = holders(chosenTensor.item);
  const tables = held.map(([run]) => run.params);
  const add = (name, textOf) => {
    const texts = held.map(([run, row]) => [run, textOf(run, row)]).filter(([, text]) => text && !(name === "status" && text === "ok"));
    if (!texts.length) return;
    const column = columnOf(tables, name);
    facts.append(element("div", {}, element("dt", {}, column ? term(column) : name),
      ...texts.map(([run, text]) => element("dd", {}, run.mark + text))));
  };
  add(tr("Tensor"), (run, row) => run.label(row));
  add("layer_index", (run, row) => run.params.text("layer_index", row));
  add("block_type", (run, row) => run.group(row));
  for (const name of SHOWN) add(name, (run, row) => (name === "alpha" ? alphaText(run, row) : run.params.text(name, row)));
}

function showTensor() {
  if (chosenTensor.item >= 0) {
    document.getElementById("tensor").value = visible(itemLabel(chosenTensor.item));
    showFacts();
  }
  if (withSpectra) {
    document.getElementById("siblings").checked = chosenTensor.siblings;
    drawSpectrum();
  }
}

// Shows a tensor of a run; `move` brings the panel into view.
function chooseTensor(run, row, move = false) {
  chosenTensor.item = items.of(run, row);
  showTensor();
  const panel = document.getElementById("spectra");
  const { top, bottom } = panel.getBoundingClientRect();
  if (move && (top > innerHeight * 0.7 || bottom < innerHeight * 0.3)) goTo("spectra");
  remember();
}

function step(by) {
  const group = itemGroup(chosenTensor.item);
  for (let item = chosenTensor.item + by; item >= 0 && item < items.count; item += by) {
    if (itemGroup(item) === group) { chooseTensor(...holders(item)[0]); return; }
  }
}

// The tensor of a comparison that changed most.
function mostChanged({ params }) {
  if (!params.has("relative_change")) return undefined;
  const changes = Array.from(params.raw("relative_change"), (value) => (Number.isFinite(value) ? value : -1));
  return changes.length ? changes.indexOf(changes.reduce((a, b) => Math.max(a, b))) : undefined;
}

// The one that a page without a choice shows: the first outlier with a spectrum, in both runs if
// there are two.
function firstItem() {
  if (!items.count) return -1;
  const run = runs.find((one) => one.params.rows);
  const { spectra } = run;
  const candidates = run.outliers.map(({ row }) => row).filter((row) => spectra?.of[row]);
  const outlier = candidates.find((row) => holders(items.of(run, row)).length === runs.length) ?? candidates[0];
  return items.of(run, outlier ?? mostChanged(run) ?? (spectra ? Number(Object.keys(spectra.of)[0] ?? 0) : 0));
}

function withoutSpectra(siblings) {
  document.getElementById("spectrum").remove();
  siblings.parentElement.remove();
  document.querySelector("#spectrum-panel .note").remove();
  document.getElementById("spectrum-note").textContent = runs[0].isCompare
    ? tr("The numbers of one tensor: pick it here, on the map, or in a list below.")
    : tr("This run kept no singular values, so there is nothing to draw. Analyze the model with --save-spectra (and --metrics standard or full), then make the report again.");
}

function startTensor() {
  const input = document.getElementById("tensor");
  const list = document.getElementById("tensors");
  const byName = new Map();
  for (let item = items.count - 1; item >= 0; item -= 1) byName.set(visible(itemLabel(item)), item);
  // A list of all would take seconds in a model with many experts.
  input.addEventListener("input", () => {
    if (byName.has(input.value)) { chooseTensor(...holders(byName.get(input.value))[0]); return; }
    const wanted = input.value.toLowerCase();
    const names = [];
    for (const name of byName.keys()) {
      if (names.length === 60) break;
      if (name.toLowerCase().includes(wanted)) names.push(name);
    }
    list.replaceChildren(...names.reverse().map((name) => option(name)));
  });
  input.addEventListener("focus", () => input.select());
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  const siblings = document.getElementById("siblings");
  siblings.addEventListener("change", () => { chosenTensor.siblings = siblings.checked; drawSpectrum(); remember(); });
  if (withSpectra) {
    const plot = document.getElementById("spectrum");
    document.querySelector("#spectrum-panel .controls").append(saveButtons({
      plots: () => [plot], csv: () => spectraCsv(drawnTensors()), names: () => [itemLabel(chosenTensor.item), "spectrum"],
    }));
  } else withoutSpectra(siblings);
  const first = firstItem();
  inAddress("tensor", () => ({
    "": chosenTensor.item === first ? "" : visible(itemLabel(chosenTensor.item)), siblings: chosenTensor.siblings ? "yes" : "",
  }), (given) => {
    const name = given.take("");
    if (name !== undefined && !byName.has(name)) given.ignore("", name);
    chosenTensor.item = byName.get(name) ?? first;
    chosenTensor.siblings = withSpectra && given.one("siblings", ["yes"], "") === "yes";
    showTensor();
  });
  if (withSpectra) drawings.push(drawSpectrum);
}
