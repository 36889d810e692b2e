// Two experts of one layer: how often they work together, how alike they are, as matrix or graph.

// A matrix of the chosen layer as rows of numbers; NaN where there is none.
class LayerMatrices {
  constructor(name, described) {
    Object.assign(this, { name, rows: mixture.experts, described, values: null });
    this.columns = described.names;
  }

  get isSquare() { return this.described.names === null; }

  has(layer) { return this.described.layers.includes(layer); }

  of(layer) {
    this.values ??= numbers(this.described);
    const { packed } = this.described;
    const width = this.isSquare ? this.rows : this.columns.length;
    const size = packed ? (this.rows * (this.rows + 1)) / 2 : this.rows * width;
    const from = this.described.layers.indexOf(layer) * size;
    // The upper half of a symmetric matrix, row after row.
    const place = (row, column) => (packed ? (row > column ? place(column, row) : row * this.rows - (row * (row - 1)) / 2 + column - row) : row * width + column);
    return Array.from({ length: this.rows }, (_, row) => Array.from({ length: width }, (__, column) => this.values[from + place(row, column)]));
  }
}

// How many times more often two experts work together than if each chose alone: n(a, b) T / (n(a) n(b)).
function liftOf(together, tokens) {
  return together.map((row, a) => row.map((count, b) => (a === b || !together[a][a] || !together[b][b] ? NaN : (count * tokens) / (together[a][a] * together[b][b]))));
}

function drawMatrix(plot, z, { names = null, order, title, onBoth, across }) {
  const square = names === null;
  const columns = square ? order : names.map((_, at) => at);
  // An expert beside itself says nothing, and would take the last colour from all others.
  const shown = order.map((row) => columns.map((column) => (Number.isFinite(z[row][column]) && !(square && row === column) ? z[row][column] : null)));
  const labels = order.map(String);
  const below = square ? labels : names.map(plotText);
  plot.style.height = square ? `${narrow.matches ? 430 : 620}px` : `${Math.max(300, Math.min(900, 120 + 18 * order.length))}px`;
  const category = { type: "category", showgrid: false };
  draw(plot, [{
    type: "heatmap", z: shown, x: below, y: labels, colorscale: "Viridis", hoverongaps: false, xgap: order.length > 64 ? 0 : 1, ygap: order.length > 64 ? 0 : 1,
    hovertemplate: `${onBoth}<br>${plotText(title)} <b>%{z:.4g}</b><extra></extra>`,
    colorbar: { thickness: 12, outlinewidth: 0, ...(narrow.matches && square ? { orientation: "h", y: -0.02, yanchor: "top", ypad: 52, nticks: 5 } : {}) },
  }], {
    xaxis: axis({ ...category, title: { text: plotText(across) }, ...(square ? { nticks: narrow.matches ? 8 : 20 } : {}) }),
    yaxis: axis({ ...category, title: { text: tr("expert") }, autorange: "reversed", nticks: 24 }),
  });
}
