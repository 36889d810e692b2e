// Plots as SVG and PNG, tables and the numbers of plots as CSV.

// Above this width of a plot its image has that width; narrower ones would cut their texts.
const LEAST_WIDTH = 760;

// A number as text that reads back to the same number, in as few digits as that takes.
function exactText(value, isSingle) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (isSingle) {
    for (let digits = 1; digits < 9; digits += 1) {
      const rounded = Number(value.toPrecision(digits));
      if (Math.fround(rounded) === value) return String(rounded);
    }
  }
  return String(value);
}

// A cell of a table as CSV has it: text in quotes, numbers in full, null empty.
function csvCell(table, name, row) {
  const { kind } = table.columns.get(name);
  const values = table.raw(name);
  if (kind === "text") return values[row] < 0 ? "" : csvText(table.text(name, row));
  if (kind === "bool") return Number.isNaN(values[row]) ? "" : String(values[row] === 1);
  return exactText(values[row], values instanceof Float32Array);
}

const csvText = (text) => `"${String(text).replaceAll('"', '""')}"`;
const csvValue = (value) => (typeof value === "number" ? exactText(value, false) : csvText(value));

// Lines of cells, which are CSV already, below headings.
const csvOf = (heads, lines) => [heads.map(csvText), ...lines].map((cells) => `${cells.join(",")}\n`).join("");

function fileName(names, suffix) {
  const words = [...runs.map((run) => run.name), ...names].filter(Boolean);
  return `${words.map((word) => cut(word.replace(/[^\p{L}\p{N}._]+/gu, "-").replace(/^[-.]+|[-.]+$/g, ""), 60)).join("_")}.${suffix}`;
}

function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const saveCsv = (text, names) => download(new Blob([text], { type: "text/csv" }), fileName(names, "csv"));

// A plot as SVG, on the page's card, with what it is above it; and its size.
async function svgOf(plot, names) {
  const title = { text: plotText(names.filter(Boolean).join(" · ")), font: { size: 14 }, x: 0.01, xanchor: "left" };
  const layout = { ...plot.layout, title, paper_bgcolor: color("card"), margin: { ...plot.layout.margin, t: plot.layout.margin.t + 30 } };
  const size = { width: Math.max(LEAST_WIDTH, plot.clientWidth), height: plot.clientHeight + 30 };
  const address = await Plotly.toImage({ data: plot.data, layout }, { format: "svg", ...size });
  return { text: decodeURIComponent(address.slice(address.indexOf(",") + 1)), ...size };
}

// Plots beside each other in one SVG; a title for each.
async function imageOf(plots, titles) {
  const pieces = [];
  for (const [at, plot] of plots.entries()) pieces.push(await svgOf(plot, titles[at]));
  if (pieces.length === 1) return pieces[0];
  const places = pieces.map((_, at) => pieces.slice(0, at).reduce((sum, { width }) => sum + width, 0));
  const width = pieces.reduce((sum, piece) => sum + piece.width, 0);
  const height = Math.max(...pieces.map((piece) => piece.height));
  const inner = pieces.map(({ text }, at) => text.replace(/^<svg /, `<svg x="${places[at]}" `)).join("");
  const background = `<rect width="100%" height="100%" fill="${color("card")}"/>`;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return { text: `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${background}${inner}</svg>`, width, height };
}

// An SVG as PNG, in twice as many pixels.
async function pngOf({ text, width, height }) {
  const picture = new Image();
  picture.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  await picture.decode();
  const canvas = element("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

async function savePlots(plots, format, names) {
  const titles = plots.map((_, at) => [plots.length > 1 ? runs[at].mark + runs[at].name : runs.map((run) => run.name).join(", "), ...names]);
  const image = await imageOf(plots, titles);
  download(format === "png" ? await pngOf(image) : new Blob([image.text], { type: "image/svg+xml" }), fileName(names, format));
}

// Buttons that save: `plots` gives the plots that are shown now, `csv` the text of their numbers,
// `names` what the file is about, for its name.
function saveButtons({ plots = null, csv, names }) {
  const buttons = element("span", { className: "save" });
  const button = (text, title, work) => {
    const made = element("button", { type: "button", title }, text);
    made.addEventListener("click", work);
    buttons.append(made);
  };
  if (plots !== null) {
    for (const format of ["svg", "png"]) {
      button(format.toUpperCase(), tr("Save this plot as {format}", { format: format.toUpperCase() }), () => savePlots(plots(), format, names()));
    }
  }
  button("CSV", tr("Save these numbers as CSV"), () => saveCsv(csv(), names()));
  return buttons;
}

// A table that the page came with: its cells, with the numbers behind rounded ones.
function startSavedTables() {
  for (const table of document.querySelectorAll("table[data-save]")) {
    const lines = [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? csvText(cell.textContent)));
    const csv = () => lines.map((cells) => `${cells.join(",")}\n`).join("");
    table.closest(".scroll").before(element("div", { className: "controls" }, saveButtons({ csv, names: () => [table.dataset.save] })));
  }
}
