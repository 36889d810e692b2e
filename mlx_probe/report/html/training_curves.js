// The curves of training runs: loss, bits per byte, rewards, learning rate, gradient norm, throughput.

// Each plot with its curves: those of steps, and those of evaluations.
const CURVES = [
  { key: "loss", name: () => tr("Loss"), steps: "train_loss", evaluations: "val_loss", isLog: true },
  { key: "bpb", name: () => tr("Bits per byte"), steps: "train_bpb", evaluations: "val_bpb", isLog: true },
  { key: "reward", name: () => tr("Mean reward"), steps: "reward", evaluations: "val_reward" },
  { key: "reward_std", name: () => tr("Spread of rewards"), steps: "reward_std" },
  { key: "kl", name: () => tr("Divergence"), steps: "kl" },
  { key: "answer_tokens", name: () => tr("Length of answers"), steps: "answer_tokens" },
  { key: "teacher_kl", name: () => tr("Divergence from the teacher"), steps: "teacher_kl", isLog: true },
  { key: "active_mean", name: () => tr("Active experts"), steps: "active_mean" },
  { key: "fallback", name: () => tr("Fallback"), steps: "fallback" },
  { key: "learning_rate", name: () => tr("Learning rate"), steps: "learning_rate" },
  { key: "grad_norm", name: () => tr("Gradient norm"), steps: "grad_norm", isLog: true },
  { key: "throughput", name: () => tr("Throughput"), steps: "tokens_per_second" },
];

const metricColumn = (name) => columnOf(tablesOf("evaluations"), name);

// A curve's points over what the horizontal axis is; null where a run has none.
function curveOf(run, name, over, isOfSteps) {
  const { curves } = run;
  const places = isOfSteps ? curves.steps[over] : curves.evaluations[over];
  const entry = isOfSteps ? curves.curves[name] : curves.evaluations[name];
  if (!places || !entry) return null;
  const x = numbers(places);
  if (!isOfSteps) return { x, mean: numbers(entry) };
  return { x, mean: numbers(entry.mean), low: entry.low && numbers(entry.low), high: entry.high && numbers(entry.high) };
}

const finite = (values) => Array.from(values, (value) => (Number.isFinite(value) ? value : null));

// The line of a curve, with the band of its least and largest values where a point is many steps.
function curveTraces(run, name, over, isOfSteps, style) {
  const curve = curveOf(run, name, over, isOfSteps);
  if (curve === null || !curve.mean.some(Number.isFinite)) return [];
  const x = Array.from(curve.x);
  const { title, unit } = metricColumn(name);
  const shown = runs.length > 1 ? cut(run.mark + run.name, 28) : isOfSteps ? tr("training") : tr("validation");
  const at = (index) => `${plotText(axisName(over))} ${short(x[index])}`;
  const range = (index) => (curve.low ? `<br>${tr("of {count} steps: {low} to {high}", { count: run.curves.each, low: short(curve.low[index]), high: short(curve.high[index]) })}` : "");
  const text = x.map((_, index) => `<b>${plotText(runs.length > 1 ? `${run.mark}${run.name}` : title)}</b><br>${at(index)}<br>${short(curve.mean[index])} ${plotText(unit)}${range(index)}`);
  const line = { type: "scatter", name: plotText(shown), x, y: finite(curve.mean), text, hoverinfo: "text", connectgaps: true, legendgroup: shown, showlegend: style.isNamed,
    mode: isOfSteps ? "lines" : "lines+markers", line: { color: style.color, dash: style.dash, width: isOfSteps ? style.width : 2 }, marker: { size: 5, color: style.color } };
  if (!curve.low) return [line];
  const end = (values, more) => ({ type: "scatter", mode: "lines", x, y: finite(values), line: { width: 0, color: style.color }, hoverinfo: "skip", showlegend: false, connectgaps: true, legendgroup: shown, ...more });
  return [end(curve.low, {}), end(curve.high, { fill: "tonexty", fillcolor: `${style.color}30` }), line];
}

const axisName = (over) => ({ step: tr("step"), tokens: tr("tokens"), seconds: tr("seconds of training") })[over];

function startCurves() {
  const panel = document.getElementById("curves");
  const overs = ["step", "tokens", "seconds"].filter((over) => runs.some((run) => run.curves.steps[over] || run.curves.evaluations[over]));
  const usual = { over: "step", logX: false, logY: false };
  const state = { ...usual };
  const over = element("select", { ariaLabel: tr("Horizontal axis") }, ...overs.map((name) => option(name, axisName(name))));
  const logX = element("input", { type: "checkbox" });
  const logY = element("input", { type: "checkbox" });
  over.addEventListener("change", () => { state.over = over.value; chosen(); });
  logX.addEventListener("change", () => { state.logX = logX.checked; chosen(); });
  logY.addEventListener("change", () => { state.logY = logY.checked; chosen(); });
  const drawnCurves = CURVES.filter(({ steps, evaluations }) => runs.some((run) => run.curves.curves[steps] || run.curves.evaluations[evaluations]));
  const each = Math.max(...runs.map((run) => run.curves.each));
  const notes = [
    runs.length > 1 ? tr("Dotted: training; with points: validation. A run has the same colour in all plots.") : "",
    each > 1 ? tr("A point is the mean of up to {count} steps; the band behind a line reaches from the least to the largest of them.", { count: each }) : "",
  ];
  const plots = drawnCurves.map(({ key }) => element("div", { className: "plot", id: `curve-${key}` }));
  // Room for the names of many runs.
  if (runs.length > 2 && plots.length) plots[0].style.height = `${320 + 20 * Math.ceil(runs.length / 2)}px`;
  const figures = drawnCurves.map((curve, at) => {
    const buttons = saveButtons({ plots: () => [plots[at]], csv: () => curveCsv(curve), names: () => [curve.name()] });
    return element("figure", {}, element("figcaption", {}, captionOf(curve), buttons), plots[at]);
  });
  panel.append(element("div", { className: "controls" }, element("label", {}, tr("over"), over),
    element("label", {}, logX, tr("logarithmic steps")), element("label", {}, logY, tr("logarithmic values"))),
  element("p", { className: "note" }, notes.filter(Boolean).join(" ")), element("div", { className: "curves" }, ...figures));

  function captionOf({ name, steps, evaluations }) {
    const known = [[steps, tr("training")], [evaluations, tr("validation")]].filter(([one]) => one && metricColumn(one));
    if (known.length === 1) return element("span", {}, term(metricColumn(known[0][0]), name()));
    return element("span", {}, tr("{name}: ", { name: name() }), ...known.flatMap(([one, text], at) => [...(at ? [tr(", ")] : []), term(metricColumn(one), text)]));
  }

  // The points as CSV: those of steps, then those of evaluations.
  function curveCsv({ steps, evaluations }) {
    const lines = runs.flatMap((run) => [[steps, true], [evaluations, false]].flatMap(([name, isOfSteps]) => {
      const curve = name && curveOf(run, name, state.over, isOfSteps);
      if (!curve) return [];
      return Array.from(curve.x, (x, at) => [csvText(run.name), csvText(name), exactText(x, false), exactText(curve.mean[at], true),
        curve.low ? exactText(curve.low[at], true) : "", curve.high ? exactText(curve.high[at], true) : ""]);
    }));
    return csvOf(["run", "curve", state.over, "value", "lowest", "highest"], lines);
  }

  function tracesOf({ steps, evaluations }) {
    return runs.flatMap((run) => {
      const [own, other] = runs.length === 1 ? [LINES[0], LINES[1]] : [LINES[run.at % LINES.length], LINES[run.at % LINES.length]];
      const dash = DASHES[Math.floor(run.at / LINES.length) % DASHES.length];
      return [
        ...curveTraces(run, steps, state.over, true, { color: own, dash: runs.length > 1 && evaluations ? "dot" : dash, width: run.curves.each > 1 || !evaluations ? 1.6 : 1, isNamed: runs.length === 1 }),
        ...(evaluations ? curveTraces(run, evaluations, state.over, false, { color: other, dash, isNamed: true }) : []),
      ];
    });
  }

  function render() {
    drawnCurves.forEach((curve, at) => {
      const traces = tracesOf(curve);
      const column = metricColumn(curve.evaluations) ?? metricColumn(curve.steps);
      draw(plots[at], traces, {
        xaxis: axis({ title: { text: plotText(axisName(state.over)) }, type: state.logX ? "log" : "linear", exponentformat: "SI" }),
        yaxis: axis({ title: { text: plotText(column.unit || (curve.evaluations ? curve.name() : column.title)) }, type: state.logY && curve.isLog ? "log" : "linear", exponentformat: "power" }),
        // One legend is enough for lines that have the same colours everywhere.
        showlegend: Boolean(curve.evaluations) && (runs.length === 1 || at === 0),
        legend: { orientation: "h", y: -0.28, yanchor: "top" }, hovermode: "closest",
      });
    });
  }

  function show() {
    Object.assign(over, { value: state.over });
    Object.assign(logX, { checked: state.logX });
    Object.assign(logY, { checked: state.logY });
    render();
  }

  function chosen() {
    show();
    remember();
  }

  inAddress("curves", () => ({ over: state.over === "step" ? "" : state.over, logx: state.logX ? "yes" : "", logy: state.logY ? "yes" : "" }), (given) => {
    state.over = given.one("over", overs, usual.over);
    state.logX = given.one("logx", ["yes"], "") === "yes";
    state.logY = given.one("logy", ["yes"], "") === "yes";
    show();
  });
  drawings.push(render);
}
