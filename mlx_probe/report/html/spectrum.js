// The singular values of one tensor, those of noise, and the fitted tail.

const spectra = payload.spectra;
// Columns that are shown beside the plot, where the run has them.
const SHOWN = ["shape", "rank", "noise_rank", "stable_rank", "effective_rank", "spectral_norm", "condition_number",
  "alpha", "alpha_D", "alpha_tail_count", "ww_alpha", "mp_edge", "spikes", "gd_rank", "std", "kurtosis", "q4_nrmse",
  "outlier_columns", "relative_change", "cosine", "delta_rank", "delta_effective_rank", "left_overlap", "right_overlap",
  "intruder_count", "spectrum_method", "spectrum_error", "status", "status_reason"];
// Below this share of the largest a value would only stretch the plot.
const LOWEST = 1e-9;

const spectrumState = { row: -1, siblings: false };

function sigmaOf(row) {
  const entry = spectra?.of[row] ?? spectra?.of[spectra.copies[row]];
  return entry && { ...entry, sigma: numbers(entry), ranks: spectra.ranks[entry.count] };
}

function alphaText(row) {
  const value = short(params.number("alpha", row));
  if (!value) return "";
  const [low, high] = ["alpha_low", "alpha_high"].map((name) => params.number(name, row));
  const range = Number.isNaN(low) ? ` ± ${short(params.number("alpha_stderr", row))}` : ` (90 %: ${short(low)} to ${short(high)})`;
  return value + range + (params.number("alpha_reliable", row) === 0 ? ", not reliable" : "");
}

function tailTrace(row, reliable) {
  const [alpha, xmin, count] = ["alpha", "alpha_xmin", "alpha_tail_count"].map((name) => params.number(name, row));
  if (!(alpha > 1 && xmin > 0 && count > 1)) return [];
  // Rank k of lambda is count (lambda / xmin)^(1 - alpha): a line in the log-log plot.
  const sigma = (rank) => Math.sqrt(xmin * (rank / count) ** (1 / (1 - alpha)));
  return [{
    type: "scatter", mode: "lines", name: `tail, alpha ${short(alpha)}`, x: [1, count], y: [sigma(1), sigma(count)],
    line: { width: 4, color: reliable ? "#e69f00" : color("muted") }, opacity: 0.75,
    hoverinfo: "text", text: plotText(`fitted tail: alpha ${alphaText(row)}, ${short(count)} values`),
  }];
}

function spectrumTraces(row, own) {
  const traces = [];
  if (spectrumState.siblings) {
    const x = [], y = [];
    for (const other of Object.keys(spectra.of).map(Number)) {
      if (other === row || payload.groups[other] !== payload.groups[row]) continue;
      const { sigma, ranks } = sigmaOf(other);
      x.push(...ranks, null);
      y.push(...sigma, null);
    }
    traces.push({ type: "scatter", mode: "lines", name: "others of its block type", x, y, hoverinfo: "skip",
      line: { width: 0.7, color: color("muted") }, opacity: 0.4 });
  }
  const reliable = params.number("alpha_reliable", row) !== 0;
  traces.push(...tailTrace(row, reliable));
  if (own.noise !== null && spectra.nulls[own.shape]) {
    const unit = numbers(spectra.nulls[own.shape]);
    traces.push({ type: "scatter", mode: "lines", name: "noise", x: own.ranks, y: Array.from(unit, (v) => v * own.noise),
      line: { dash: "dash", width: 2, color: "#d55e00" }, hovertemplate: "noise: rank %{x}, %{y:.4g}<extra></extra>" });
  }
  const edge = params.number("mp_edge", row);
  if (edge > 0) {
    traces.push({ type: "scatter", mode: "lines", name: "edge of noise", x: [1, own.count], y: [edge, edge],
      line: { dash: "dot", width: 1.2, color: "#d55e00" }, hovertemplate: "edge of noise: %{y:.4g}<extra></extra>" });
  }
  traces.push({ type: "scatter", mode: "lines+markers", name: "singular values", x: own.ranks, y: Array.from(own.sigma),
    line: { width: 1.5, color: LINES[0] }, marker: { size: 4, color: LINES[0] }, hovertemplate: "rank %{x}: %{y:.5g}<extra></extra>" });
  return traces;
}

function drawSpectrum() {
  const { row } = spectrumState;
  const target = document.getElementById("spectrum");
  const note = document.getElementById("spectrum-note");
  const own = sigmaOf(row);
  const kept = spectra.kept < spectra.total
    ? `${spectra.kept} of ${spectra.total} spectra are in this page: those of the outliers first, then of dense tensors, then of experts. `
    : "";
  note.textContent = kept + (own ? "" : "This tensor has no spectrum here: it is a vector, is not finite, or is not among those kept.");
  target.style.visibility = own ? "visible" : "hidden";
  if (!own) return;
  const floor = own.sigma[0] * LOWEST;
  const lowest = own.sigma.reduce((least, v) => (v > 0 ? Math.min(least, v) : least), own.sigma[0]);
  const range = lowest < floor ? { range: [Math.log10(floor), Math.log10(own.sigma[0] * 2)] } : {};
  draw(target, spectrumTraces(row, own), {
    xaxis: axis({ type: "log", title: { text: "rank" }, dtick: "D2", exponentformat: "none" }),
    yaxis: axis({ type: "log", title: { text: "singular value" }, exponentformat: "power", ...range }),
    legend: { x: 0.02, y: 0.02, xanchor: "left", yanchor: "bottom", bgcolor: color("card"), bordercolor: color("line"), borderwidth: 1 },
    uirevision: "keep",
  });
}

function showFacts(row) {
  const facts = document.getElementById("tensor-facts");
  facts.replaceChildren();
  const lines = [["tensor", label(row)], ["layer", params.text("layer_index", row)], ["block type", payload.group_names[payload.groups[row]]]];
  for (const name of SHOWN) lines.push([name, name === "alpha" ? alphaText(row) : params.text(name, row)]);
  for (const [name, text] of lines) {
    if (!text || (name === "status" && text === "ok")) continue;
    facts.append(element("div", { title: params.columns.get(name)?.about ?? "" }, element("dt", {}, name), element("dd", {}, text)));
  }
}

// Shows a tensor; `move` brings the panel into view.
function chooseTensor(row, move = false) {
  spectrumState.row = row;
  document.getElementById("tensor").value = visible(label(row));
  if (spectra) drawSpectrum();
  showFacts(row);
  const panel = document.getElementById("spectra");
  const { top, bottom } = panel.getBoundingClientRect();
  if (move && (top > innerHeight * 0.7 || bottom < innerHeight * 0.3)) panel.scrollIntoView();
}

function step(by) {
  const group = payload.groups[spectrumState.row];
  for (let row = spectrumState.row + by; row >= 0 && row < params.rows; row += by) {
    if (payload.groups[row] === group) { chooseTensor(row); return; }
  }
}

// The tensor of a comparison that changed most.
function mostChanged() {
  if (!params.has("relative_change")) return undefined;
  const changes = Array.from(params.raw("relative_change"), (value) => (Number.isFinite(value) ? value : -1));
  return changes.length ? changes.indexOf(changes.reduce((a, b) => Math.max(a, b))) : undefined;
}

function startSpectrum() {
  const input = document.getElementById("tensor");
  const list = document.getElementById("tensors");
  const byName = new Map();
  for (let row = params.rows - 1; row >= 0; row -= 1) byName.set(visible(label(row)), row);
  // A list of all would take seconds in a model with many experts.
  input.addEventListener("input", () => {
    if (byName.has(input.value)) { chooseTensor(byName.get(input.value)); return; }
    const wanted = input.value.toLowerCase();
    const names = [];
    for (const name of byName.keys()) {
      if (names.length === 60) break;
      if (name.toLowerCase().includes(wanted)) names.push(name);
    }
    list.replaceChildren(...names.reverse().map((name) => element("option", { value: name })));
  });
  input.addEventListener("focus", () => input.select());
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  const siblings = document.getElementById("siblings");
  siblings.addEventListener("change", () => { spectrumState.siblings = siblings.checked; drawSpectrum(); });
  if (!spectra) {
    document.getElementById("spectrum").remove();
    siblings.parentElement.remove();
    document.querySelector("#spectrum-panel .note").remove();
    document.getElementById("spectrum-note").textContent = payload.compare
      ? "The numbers of one tensor: pick it here, on the map, or in a list below."
      : "This run kept no singular values, so there is nothing to draw. Analyze the model with --save-spectra (and --metrics standard or full), then make the report again.";
  }
  const first = payload.outliers.map((outlier) => outlier.row).find((row) => spectra?.of[row]);
  const start = first ?? mostChanged() ?? (spectra ? Number(Object.keys(spectra.of)[0] ?? 0) : 0);
  if (params.rows) chooseTensor(start);
  if (spectra) drawings.push(drawSpectrum);
}
