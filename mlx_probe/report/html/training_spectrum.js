// The spectrum of a matrix while it is learned, with a slider over the snapshots.

// Tables that pair two runs are not in this page.
const paired = null;
// Milliseconds between two snapshots that play.
const PAUSE = 700;
const chosenTensor = { run: null, name: "", at: 0, every: false };
// What else follows the chosen snapshot and matrix.
const followers = [];
// For each run the rows of each matrix by its name, one for each snapshot that has it.
const rowsByName = new Map();

function namesOf(run) {
  if (!rowsByName.has(run)) {
    const rows = new Map();
    for (let row = 0; row < run.params.rows; row += 1) {
      const label = run.label(row);
      if (!rows.has(label)) rows.set(label, []);
      rows.get(label).push(row);
    }
    rowsByName.set(run, rows);
  }
  return rowsByName.get(run);
}

// The chosen matrix at the chosen snapshot, or at the one before that has it.
function chosenRow() {
  const { run, name, at } = chosenTensor;
  const steps = run.params.raw("step");
  return (namesOf(run).get(name) ?? []).filter((row) => steps[row] <= run.snapshots[at]).at(-1);
}

// The matrix at all its snapshots: [row, own].
function courseOf(run, name) {
  return (namesOf(run).get(name) ?? []).map((row) => [row, sigmaOf(run, row)]).filter(([, own]) => own !== undefined);
}

// Thin lines of all snapshots, the early ones light.
function courseTraces(run, course) {
  return course.map(([row, own], at) => ({
    type: "scatter", mode: "lines", x: own.ranks, y: Array.from(own.sigma), name: tr("step {step}", { step: run.params.text("step", row) }),
    showlegend: false, line: { width: 1.2, color: `hsl(${Math.round(265 - (215 * at) / Math.max(1, course.length - 1))}, 65%, 52%)` }, opacity: 0.75,
    hovertemplate: `${plotText(tr("step {step}", { step: run.params.text("step", row) }))} #%{x}: %{y:.4g}<extra></extra>`,
  }));
}

function drawSpectrum() {
  const target = document.getElementById("spectrum");
  const note = document.getElementById("spectrum-note");
  const { run, name, every } = chosenTensor;
  const row = chosenRow();
  const own = row === undefined ? undefined : sigmaOf(run, row);
  const { spectra } = run;
  const kept = spectra && spectra.kept < spectra.total ? tr("{kept} of {total} spectra are in this page: those of the first matrices of the table.", { kept: spectra.kept, total: spectra.total }) : "";
  const missing = spectra ? tr("This tensor has no spectrum here: it is a vector, is not finite, or is not among those kept.") : tr("The snapshots of this run kept no singular values.");
  note.textContent = [kept, own ? "" : missing].filter(Boolean).join(" ");
  target.style.visibility = own ? "visible" : "hidden";
  if (!own) return;
  const course = courseOf(run, name);
  const tops = course.map(([, one]) => one.sigma[0]);
  const floor = Math.min(...tops.filter((value) => value > 0)) * 1e-6;
  const least = course.reduce((low, [, one]) => one.sigma.reduce((a, v) => (v > floor ? Math.min(a, v) : a), low), Infinity);
  const top = Math.max(...tops);
  const fixed = least <= top ? [Math.log10(least) - 0.1, Math.log10(top) + 0.1] : null;
  drawSpectra(target, [[run, row, own]], false, { behind: every ? courseTraces(run, course) : [], fixed });
}

function showTensor() {
  const { run, name, at } = chosenTensor;
  const slider = document.getElementById("step");
  const step = run.snapshots[at];
  document.getElementById("tensor").value = visible(name);
  Object.assign(slider, { max: String(run.snapshots.length - 1), value: String(at) });
  slider.setAttribute("aria-valuetext", tr("step {step}", { step }));
  document.getElementById("step-shown").textContent = tr("step {step}", { step });
  document.getElementById("every").checked = chosenTensor.every;
  const which = document.getElementById("spectrum-run");
  if (which !== null) which.value = String(run.at);
  const facts = document.getElementById("tensor-facts");
  const row = chosenRow();
  const shown = row === undefined ? [] : ["step", "block_type", ...SHOWN, "spectral_change", "change_since"].filter((column) => run.params.has(column));
  facts.replaceChildren(...shown.map((column) => [run.params.columns.get(column), column === "alpha" ? alphaText(run, row) : run.params.text(column, row)])
    .filter(([, text]) => text && text !== "ok")
    .map(([column, text]) => element("div", {}, element("dt", {}, term(column)), element("dd", {}, text))));
  drawSpectrum();
  for (const follow of followers) follow();
}

// Shows the matrix and the snapshot of a row; `move` brings the panel into view.
function chooseTensor(run, row, move = false) {
  Object.assign(chosenTensor, { run, name: run.label(row), at: run.snapshots.indexOf(run.params.raw("step")[row]) });
  showTensor();
  const panel = document.getElementById("spectra");
  const { top, bottom } = panel.getBoundingClientRect();
  if (move && (top > innerHeight * 0.7 || bottom < innerHeight * 0.3)) goTo("spectra");
  remember();
}

// The next matrix of the same kind.
function step(by) {
  const { run, name } = chosenTensor;
  const group = run.group(namesOf(run).get(name)[0]);
  const names = [...namesOf(run)].filter(([, rows]) => run.group(rows[0]) === group).map(([label]) => label);
  const next = names[names.indexOf(name) + by];
  if (next !== undefined) choose({ name: next });
}

function choose(changes, isTyping = false) {
  Object.assign(chosenTensor, changes);
  showTensor();
  remember(isTyping);
}

function startPlaying(slider) {
  const button = document.getElementById("play");
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = tr("Play"); };
  stop();
  button.addEventListener("click", () => {
    if (timer) { stop(); return; }
    button.textContent = tr("Stop");
    if (chosenTensor.at === chosenTensor.run.snapshots.length - 1) choose({ at: 0 });
    timer = setInterval(() => {
      choose({ at: chosenTensor.at + 1 }, true);
      if (chosenTensor.at >= chosenTensor.run.snapshots.length - 1) stop();
    }, PAUSE);
  });
  slider.addEventListener("input", stop);
}

function startSpectrum() {
  if (document.getElementById("spectra") === null) return;
  const known = runs.filter((run) => run.params.rows);
  const input = document.getElementById("tensor");
  const list = document.getElementById("tensors");
  const slider = document.getElementById("step");
  const every = document.getElementById("every");
  const controls = document.querySelector("#spectrum-panel .controls");
  // A big matrix in the layers, at the end of training.
  const firstName = (run) => [...namesOf(run)].find(([, rows]) => run.spectra?.of[rows.at(-1)] && !Number.isNaN(run.params.number("layer_index", rows[0])))?.[0] ?? [...namesOf(run).keys()][0];
  const usual = { run: known[0], name: firstName(known[0]), at: known[0].snapshots.length - 1, every: false };
  Object.assign(chosenTensor, usual);
  if (known.length > 1) {
    const which = element("select", { id: "spectrum-run", ariaLabel: tr("Run") }, ...known.map((run) => option(String(run.at), cut(run.mark + run.name, 60))));
    which.addEventListener("change", () => {
      const run = runs[Number(which.value)];
      choose({ run, name: namesOf(run).has(chosenTensor.name) ? chosenTensor.name : firstName(run), at: Math.min(chosenTensor.at, run.snapshots.length - 1) });
    });
    controls.prepend(element("label", {}, tr("run"), which));
  }
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    const names = [...namesOf(chosenTensor.run).keys()];
    const exact = names.find((name) => visible(name) === input.value);
    if (exact !== undefined) { choose({ name: exact }); return; }
    list.replaceChildren(...names.filter((name) => visible(name).toLowerCase().includes(wanted)).slice(0, 60).map((name) => option(visible(name))));
  });
  input.addEventListener("focus", () => input.select());
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  slider.addEventListener("input", () => choose({ at: Number(slider.value) }, true));
  every.addEventListener("change", () => choose({ every: every.checked }));
  startPlaying(slider);
  const shown = () => { const row = chosenRow(); const own = row === undefined ? undefined : sigmaOf(chosenTensor.run, row); return own ? [[chosenTensor.run, row, own]] : []; };
  controls.append(saveButtons({
    plots: () => [document.getElementById("spectrum")], csv: () => spectraCsv(shown()),
    names: () => [chosenTensor.name, tr("step {step}", { step: chosenTensor.run.snapshots[chosenTensor.at] })],
  }));
  inAddress("tensor", () => ({
    run: chosenTensor.run === usual.run ? "" : chosenTensor.run.letter,
    "": chosenTensor.name === firstName(chosenTensor.run) ? "" : visible(chosenTensor.name),
    step: chosenTensor.at === chosenTensor.run.snapshots.length - 1 ? "" : String(chosenTensor.run.snapshots[chosenTensor.at]),
    every: chosenTensor.every ? "yes" : "",
  }), (given) => {
    const letter = given.one("run", known.map((run) => run.letter), usual.run.letter);
    const run = known.find((one) => one.letter === letter);
    const name = given.take("");
    const found = [...namesOf(run).keys()].find((one) => visible(one) === name);
    if (name !== undefined && found === undefined) given.ignore("", name);
    const last = run.snapshots.length - 1;
    const wanted = given.one("step", run.snapshots.map(String), String(run.snapshots[last]));
    Object.assign(chosenTensor, { run, name: found ?? firstName(run), at: run.snapshots.indexOf(Number(wanted)), every: given.one("every", ["yes"], "") === "yes" });
    showTensor();
  });
  drawings.push(drawSpectrum);
}
