// The singular values of one tensor, those of noise, and the fitted tail.

// Below this share of the largest a value would only stretch the plot.
const LOWEST = 1e-9;
const EDGE = "#d55e00";
// Columns that are shown beside the plot, where the run has them.
const SHOWN = ["shape", "rank", "noise_rank", "stable_rank", "effective_rank", "spectral_norm", "condition_number",
  "alpha", "alpha_D", "alpha_tail_count", "ww_alpha", "mp_edge", "spikes", "gd_rank", "std", "kurtosis", "q4_nrmse",
  "outlier_columns", "relative_change", "cosine", "delta_rank", "delta_effective_rank", "left_overlap", "right_overlap",
  "intruder_count", "spectrum_method", "spectrum_error", "status", "status_reason"];

function sigmaOf(run, row) {
  const { spectra } = run;
  const entry = spectra?.of[row] ?? spectra?.of[spectra.copies[row]];
  return entry && { ...entry, sigma: numbers(entry), ranks: spectra.ranks[entry.count] };
}

function alphaText(run, row) {
  const { params } = run;
  const value = short(params.number("alpha", row));
  if (!value) return "";
  const [low, high] = ["alpha_low", "alpha_high"].map((name) => params.number(name, row));
  const range = Number.isNaN(low) ? ` ± ${short(params.number("alpha_stderr", row))}` : ` (90 %: ${short(low)} – ${short(high)})`;
  return value + range + (params.number("alpha_reliable", row) === 0 ? `, ${tr("not reliable")}` : "");
}

// Rank k of lambda is count (lambda / xmin)^(1 - alpha): a line in the log-log plot.
function tailTrace(run, row, tint) {
  const { params } = run;
  const [alpha, xmin, count] = ["alpha", "alpha_xmin", "alpha_tail_count"].map((name) => params.number(name, row));
  if (!(alpha > 1 && xmin > 0 && count > 1)) return [];
  const reliable = params.number("alpha_reliable", row) !== 0;
  const sigma = (rank) => Math.sqrt(xmin * (rank / count) ** (1 / (1 - alpha)));
  const name = reliable ? tr("tail, alpha {alpha}", { alpha: short(alpha) }) : tr("tail, alpha {alpha}, not reliable", { alpha: short(alpha) });
  return [{
    type: "scatter", mode: "lines", name: run.mark + name, x: [1, count], y: [sigma(1), sigma(count)],
    line: { width: 4, color: reliable ? tint : color("muted"), dash: reliable ? "solid" : "8px,5px" }, opacity: 0.75,
    hoverinfo: "text", text: plotText(tr("fitted tail: alpha {alpha}, {count} values", { alpha: alphaText(run, row), count: short(count) })),
  }];
}

function siblingsTrace(run, row) {
  const x = [], y = [];
  for (const other of Object.keys(run.spectra.of).map(Number)) {
    if (other === row || run.groups[other] !== run.groups[row]) continue;
    const { sigma, ranks } = sigmaOf(run, other);
    x.push(...ranks, null);
    y.push(...sigma, null);
  }
  return { type: "scatter", mode: "lines", name: run.mark + tr("others of its block type"), x, y, hoverinfo: "skip",
    line: { width: 0.7, color: color("muted") }, opacity: 0.4 };
}

// What is drawn for one run's tensor; the last trace has its singular values.
function spectrumTraces(run, row, own, withSiblings) {
  const [tint, fitted] = run.at === 0 ? [LINES[0], "#e69f00"] : ["#cc79a7", "#8a7cc9"];
  const noise = run.at === 0 ? EDGE : "#009e73";
  const traces = withSiblings ? [siblingsTrace(run, row)] : [];
  traces.push(...tailTrace(run, row, fitted));
  if (own.noise !== null && run.spectra.nulls[own.shape]) {
    const unit = numbers(run.spectra.nulls[own.shape]);
    traces.push({ type: "scatter", mode: "lines", name: run.mark + tr("noise"), x: own.ranks, y: Array.from(unit, (v) => v * own.noise),
      line: { dash: "dash", width: 2, color: noise }, hovertemplate: `${run.mark}${plotText(tr("noise"))} #%{x}: %{y:.4g}<extra></extra>` });
  }
  const edge = run.params.number("mp_edge", row);
  if (edge > 0) {
    traces.push({ type: "scatter", mode: "lines", name: run.mark + tr("edge of noise"), x: [1, own.count], y: [edge, edge],
      line: { dash: "dot", width: 1.2, color: noise }, hovertemplate: `${run.mark}${plotText(tr("edge of noise"))}: %{y:.4g}<extra></extra>` });
  }
  traces.push({ type: "scatter", mode: "lines+markers", name: run.mark + tr("singular values"), x: own.ranks, y: Array.from(own.sigma),
    line: { width: 1.5, color: tint }, marker: { size: 4, color: tint, symbol: run.at === 0 ? "circle" : "diamond" },
    hovertemplate: `${run.mark}#%{x}: %{y:.5g}<extra></extra>` });
  return traces;
}

// Draws the tensors that have a spectrum: [run, row, own]. `behind` are traces below them, `fixed`
// the ends of the vertical axis where they do not follow from what is shown.
function drawSpectra(target, shown, withSiblings, { behind = [], fixed = null } = {}) {
  const tops = shown.map(([, , own]) => own.sigma[0]);
  const top = Math.max(...tops);
  const lowest = shown.reduce((least, [, , own]) => own.sigma.reduce((a, v) => (v > 0 ? Math.min(a, v) : a), least), top);
  const floor = Math.min(...tops) * LOWEST;
  const range = fixed ? { range: fixed } : lowest < floor ? { range: [Math.log10(floor), Math.log10(top * 2)] } : {};
  draw(target, [...behind, ...shown.flatMap(([run, row, own]) => spectrumTraces(run, row, own, withSiblings))], {
    xaxis: axis({ type: "log", title: { text: tr("rank of the singular value") }, dtick: narrow.matches ? 1 : "D2", exponentformat: "none" }),
    yaxis: axis({ type: "log", title: { text: tr("singular value") }, exponentformat: "power", ...range }),
    legend: narrow.matches ? { orientation: "h", y: -0.2, yanchor: "top" }
      : { x: 0.02, y: 0.02, xanchor: "left", yanchor: "bottom", bgcolor: color("card"), bordercolor: color("line"), borderwidth: 1 },
    uirevision: "keep",
  });
}

// What the plot shows as CSV: the singular values at the ranks that the page has, beside noise.
function spectraCsv(shown) {
  const lines = shown.flatMap(([run, row, own]) => {
    const isSingle = own.f4 !== undefined;
    const unit = own.noise !== null && run.spectra.nulls[own.shape] ? numbers(run.spectra.nulls[own.shape]) : null;
    return own.ranks.map((rank, at) => [csvText(run.name), csvText(run.label(row)), String(rank), exactText(own.sigma[at], isSingle),
      unit === null ? "" : exactText(unit[at] * own.noise, false)]);
  });
  return csvOf(["run", "tensor", "rank", "singular_value", "noise"], lines);
}
