// The page of a graft: the loss with fewer experts for each token, against the dense model.

// Tables that pair two runs are not in this page.
const paired = null;

function startDamage() {
  const panel = document.getElementById("damage");
  if (panel === null) return;
  const table = runs[0].tables.get("damage");
  const rows = Array.from({ length: table.rows }, (_, row) => row);
  const state = { log: false };
  const log = element("input", { type: "checkbox" });
  const plot = element("div", { className: "plot" });
  plot.style.height = "440px";
  log.addEventListener("change", () => { state.log = log.checked; show(); remember(); });
  const csv = () => csvOf(table.shown, rows.map((row) => table.shown.map((name) => csvCell(table, name, row))));
  panel.append(element("div", { className: "controls" }, element("label", {}, log, tr("log scale")),
    saveButtons({ plots: () => [plot], csv, names: () => ["damage"] })), plot);

  function render() {
    const x = rows.map((row) => table.number("active", row));
    const before = payload.loss_before;
    const reference = before === null ? [] : [{
      type: "scatter", mode: "lines", name: plotText(tr("dense model")), x: [x[0], x.at(-1)], y: [before, before], line: { color: color("muted"), dash: "dash", width: 1.6 },
      hoverinfo: "text", text: [0, 1].map(() => `${plotText(tr("dense model"))} <b>${short(before)}</b>`),
    }];
    draw(plot, [...reference, {
      type: "scatter", mode: "lines+markers", name: plotText(tr("mixture")), x, y: rows.map((row) => table.number("loss", row)), line: lineStyle(0), marker: { size: 6 }, hoverinfo: "text",
      text: rows.map((row) => `${tr("{count} experts", { count: x[row] })}<br>${plotText(tr("loss"))} <b>${table.text("loss", row)}</b> (+${table.text("added", row)})`),
    }], {
      xaxis: axis({ title: { text: plotText(table.columns.get("active").title) }, ...(table.rows < 20 ? { dtick: 1 } : {}) }),
      yaxis: axis({ title: { text: plotText(`${table.columns.get("loss").title} (nats/token)`) }, type: state.log ? "log" : "linear" }),
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, showlegend: true,
    });
  }

  function show() {
    Object.assign(log, { checked: state.log });
    render();
  }

  inAddress("damage", () => ({ log: state.log ? "yes" : "" }), (given) => {
    state.log = given.one("log", ["yes"], "") === "yes";
    show();
  });
  drawings.push(render);
}

startTheme();
startTips();
startDamage();
for (const target of document.querySelectorAll("div.grid")) gridPanel(target, runs[0].tables.get(target.dataset.table));
startSavedTables();
startAddress();
root.dataset.ready = "yes";
