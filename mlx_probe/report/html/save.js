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

// A plot as its image shows it: on the page's card, with what it is above it.
async function imageOf(plot, names, format) {
  const height = plot.clientHeight + 30;
  const title = { text: plotText([...runs.map((run) => run.name), ...names].filter(Boolean).join(" · ")), font: { size: 14 }, x: 0.01, xanchor: "left" };
  const layout = { ...plot.layout, title, paper_bgcolor: color("card"), margin: { ...plot.layout.margin, t: plot.layout.margin.t + 30 } };
  const width = Math.max(LEAST_WIDTH, plot.clientWidth);
  const address = await Plotly.toImage({ data: plot.data, layout }, { format, width, height, scale: format === "png" ? 2 : 1 });
  const body = address.slice(address.indexOf(",") + 1);
  if (format === "svg") return new Blob([decodeURIComponent(body)], { type: "image/svg+xml" });
  return new Blob([Uint8Array.from(atob(body), (c) => c.charCodeAt(0))], { type: "image/png" });
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
      button(format.toUpperCase(), tr("Save this plot as {format}", { format: format.toUpperCase() }), async () => {
        const shown = plots();
        for (const [at, plot] of shown.entries()) {
          const own = shown.length > 1 ? [...names(), runs[at].letter] : names();
          download(await imageOf(plot, own, format), fileName(own, format));
        }
      });
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
