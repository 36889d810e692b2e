// Any number of runs: the table of their numbers, and a metric over the relative depth.

// Tables that pair two runs are not in this page.
const paired = null;

function startProfiles() {
  const panel = document.getElementById("profiles");
  const { bins, groups, run_names: names, profiles } = payload;
  const table = runs[0].params;
  const byMetric = new Map();
  for (const profile of profiles) {
    if (!byMetric.has(profile.metric)) byMetric.set(profile.metric, new Map());
    byMetric.get(profile.metric).set(groups[profile.group].key, profile);
  }
  const metrics = table.shown.concat([...byMetric.keys()]).filter((name, at, all) => byMetric.has(name) && all.indexOf(name) === at);
  if (!metrics.length) {
    panel.append(element("p", { className: "note" }, tr("No run has numbers in the layers.")));
    return;
  }
  const isLog = (name) => Boolean(table.columns.get(name).log);
  const groupsOf = (metric) => groups.filter((group) => byMetric.get(metric).has(group.key));
  const usual = { metric: metrics[0], group: groupsOf(metrics[0])[0].key, over: "", log: isLog(metrics[0]) };
  const state = { ...usual };
  const about = element("div", { className: "note about" });
  const plot = element("div", { className: "plot" });
  plot.style.minHeight = "460px";
  const metric = metricChooser([table], metrics, (name) => { Object.assign(state, { metric: name, log: isLog(name) }); chosen(); });
  const group = element("select", { ariaLabel: tr("Tensors") });
  const over = element("select", { ariaLabel: tr("Divided by") }, option("", tr("nothing")), ...names.map((name, at) => option(String(at), visible(cut(name, 60)))));
  const log = element("input", { type: "checkbox" });
  group.addEventListener("change", () => { state.group = group.value; chosen(); });
  over.addEventListener("change", () => { state.over = over.value; chosen(); });
  log.addEventListener("change", () => { state.log = log.checked; chosen(); });
  panel.append(element("div", { className: "controls" },
    element("label", {}, tr("metric"), metric), element("label", {}, tr("tensors"), group),
    element("label", {}, tr("divided by"), over), element("label", {}, log, tr("log scale")),
    saveButtons({ plots: () => [plot], csv, names: () => [state.metric, state.group, ...(state.over ? [tr("divided by"), names[state.over]] : [])] })), about, plot);

  // The numbers of each run that has any: a median for each bin, NaN for none.
  function lines() {
    const profile = byMetric.get(state.metric).get(state.group);
    profile.values ??= numbers(profile);
    const own = (run) => profile.values.slice(run * bins, (run + 1) * bins);
    const base = state.over === "" ? null : own(Number(state.over));
    return names.map((name, run) => ({ name, run, values: Array.from(own(run), (value, bin) => (base === null ? value : base[bin] === 0 ? NaN : value / base[bin])) }))
      .filter(({ values }) => values.some((value) => !Number.isNaN(value)));
  }

  const depth = (bin) => short(bin / bins);

  function csv() {
    return csvOf(["run", "depth_from", "depth_to", state.metric], lines().flatMap(({ name, values }) => values
      .map((value, bin) => [csvText(name), csvValue(bin / bins), csvValue((bin + 1) / bins), Number.isNaN(value) ? "" : csvValue(value)])));
  }

  function render() {
    const title = titled(table.columns.get(state.metric));
    const traces = lines().map(({ name, run, values }) => ({
      type: "scatter", mode: "lines+markers", connectgaps: true, name: plotText(cut(name, 40)), line: lineStyle(run), marker: { size: 5 },
      x: values.map((_, bin) => (bin + 0.5) / bins), y: values.map((value) => (Number.isFinite(value) ? value : null)),
      text: values.map((value, bin) => `<b>${plotText(name)}</b><br>${tr("depth {from} to {to}", { from: depth(bin), to: depth(bin + 1) })}<br>${plotText(state.metric)} <b>${short(value)}</b>`),
      hoverinfo: "text",
    }));
    draw(plot, traces, {
      xaxis: axis({ title: { text: tr("relative depth: 0 is the first layer, 1 the last; points in the middle of {bins} bins", { bins }) }, range: [0, 1] }),
      yaxis: axis({ title: { text: plotText(state.over === "" ? title : `${title} / ${cut(names[state.over], 30)}`) }, type: state.log ? "log" : "linear", exponentformat: "power" }),
      showlegend: traces.length > 1,
      legend: narrow.matches ? { orientation: "h", y: -0.2, yanchor: "top" } : { orientation: "v" },
    });
  }

  function show() {
    const known = groupsOf(state.metric);
    // Another metric may have no number of this group.
    if (!known.some(({ key }) => key === state.group)) state.group = known[0].key;
    group.replaceChildren(...known.map(({ key, title }) => option(key, visible(title))));
    Object.assign(metric, { value: state.metric });
    Object.assign(group, { value: state.group });
    Object.assign(over, { value: state.over });
    Object.assign(log, { checked: state.log });
    about.replaceChildren(...columnNodes(table.columns.get(state.metric)));
    render();
  }

  function chosen() {
    show();
    remember();
  }

  inAddress("profiles", () => ({
    metric: state.metric === usual.metric ? "" : state.metric,
    group: state.group === groupsOf(state.metric)[0].key ? "" : state.group,
    over: state.over,
    log: state.log === isLog(state.metric) ? "" : (state.log ? "yes" : "no"),
  }), (given) => {
    state.metric = given.one("metric", metrics, usual.metric);
    const keys = groupsOf(state.metric).map(({ key }) => key);
    state.group = given.one("group", keys, keys[0]);
    state.over = given.one("over", names.map((_, at) => String(at)), "");
    state.log = given.one("log", ["yes", "no"], isLog(state.metric) ? "yes" : "no") === "yes";
    show();
  });
  drawings.push(render);
}

startTheme();
startTips();
startProfiles();
document.querySelectorAll("div.grid").forEach((target) => gridPanel(target, runs[0].params));
startSavedTables();
startAddress();
root.dataset.ready = "yes";
