// The plots have the colours of the page: those of the system, or those chosen by the button.

const root = document.documentElement;
const drawings = [];
// Okabe and Ito's colours, which colour-blind readers can distinguish; the first is the accent.
const LINES = ["#3b82d8", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#8a7cc9"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const MODES = ["", "light", "dark"];
const narrow = matchMedia("(max-width: 700px)");

function color(name) { return getComputedStyle(root).getPropertyValue(`--${name}`).trim(); }

function lineStyle(index) {
  return { color: LINES[index % LINES.length], dash: DASHES[Math.floor(index / LINES.length) % DASHES.length], width: 1.8 };
}

function axis(more) {
  return { gridcolor: color("line"), zeroline: false, linecolor: color("line"), automargin: true, ...more };
}

function draw(target, traces, layout) {
  const made = Plotly.react(target, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: color("plot"),
    margin: narrow.matches ? { l: 45, r: 8, t: 30, b: 40 } : { l: 60, r: 20, t: 30, b: 45 },
    font: { color: color("ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("muted"), activecolor: color("accent") },
    hoverlabel: { bgcolor: color("card"), bordercolor: color("line"), font: { color: color("ink") }, align: "left" },
    // A finger that moves over a plot scrolls the page.
    dragmode: narrow.matches ? false : "zoom",
    ...layout,
  }, { responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover", modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] });
  // Plotly keeps the size of the plot before; this one may need another.
  if (target.clientHeight !== target._fullLayout.height) Plotly.Plots.resize(target);
  return made;
}

// Runs now and again whenever the colours or the room change.
function drawn(work) {
  drawings.push(work);
  work();
}

function startTheme() {
  const button = document.getElementById("theme");
  const names = { "": tr("Auto"), light: tr("Light"), dark: tr("Dark") };
  const redraw = () => drawings.forEach((work) => work());
  let mode = "";
  const apply = (wanted) => {
    if (wanted === mode && button.textContent) return;
    mode = wanted;
    if (mode) root.dataset.theme = mode; else delete root.dataset.theme;
    button.textContent = names[mode];
    redraw();
  };
  apply("");
  button.addEventListener("click", () => { apply(MODES[(MODES.indexOf(mode) + 1) % MODES.length]); remember(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  inAddress("theme", () => ({ "": mode }), (given) => apply(given.one("", MODES, "")));
}
