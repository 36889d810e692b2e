// The experts of a layer as a graph: strong pairs are joined, and lie near each other.

// Rounds in which the places settle; more change nothing that one sees.
const ROUNDS = 160;
// Widths of lines by the rank of the pair.
const WIDTHS = [3.2, 2, 1.1];

// The pairs with the largest values, the largest first: [a, b, value].
function strongest(values, most) {
  const pairs = [];
  for (let a = 0; a < values.length; a += 1) {
    for (let b = a + 1; b < values.length; b += 1) if (Number.isFinite(values[a][b]) && values[a][b] > 0) pairs.push([a, b, values[a][b]]);
  }
  return pairs.sort((p, q) => q[2] - p[2] || p[0] - q[0] || p[1] - q[1]).slice(0, most);
}

// Places after Fruchterman and Reingold (1991): all nodes push, joined ones pull. It begins on a
// circle, so that the same pairs give the same picture.
function placesOf(count, pairs) {
  const x = Float64Array.from({ length: count }, (_, at) => Math.cos((2 * Math.PI * at) / count));
  const y = Float64Array.from({ length: count }, (_, at) => Math.sin((2 * Math.PI * at) / count));
  const room = 1.6 / Math.sqrt(count);
  for (let round = 0; round < ROUNDS; round += 1) {
    const dx = new Float64Array(count);
    const dy = new Float64Array(count);
    const move = (a, b, force) => {
      const [u, v] = [x[a] - x[b], y[a] - y[b]];
      const length = Math.max(1e-4, Math.hypot(u, v));
      const by = force(length) / length;
      dx[a] += u * by; dy[a] += v * by; dx[b] -= u * by; dy[b] -= v * by;
    };
    for (let a = 0; a < count; a += 1) for (let b = a + 1; b < count; b += 1) move(a, b, (length) => (room * room) / length);
    for (const [a, b] of pairs) move(a, b, (length) => -(length * length) / room);
    const most = 0.2 * (1 - round / ROUNDS);
    for (let a = 0; a < count; a += 1) {
      // Those that nothing joins stay in view.
      dx[a] -= x[a] * room; dy[a] -= y[a] * room;
      const length = Math.hypot(dx[a], dy[a]) || 1;
      x[a] += (dx[a] / length) * Math.min(length, most);
      y[a] += (dy[a] / length) * Math.min(length, most);
    }
  }
  return { x: Array.from(x), y: Array.from(y) };
}

// `loads` decide the sizes; `said` is what a node says, `saidOfPair` what an edge says.
function drawGraph(plot, pairs, { count, loads, said, saidOfPair, chosen }) {
  const { x, y } = placesOf(count, pairs);
  const largest = Math.max(...loads.filter(Number.isFinite), 0) || 1;
  const size = loads.map((load) => 9 + 25 * Math.sqrt((Number.isFinite(load) ? load : 0) / largest));
  const ofChosen = ([a, b]) => a === chosen || b === chosen;
  const lines = (own, width, shade) => ({
    type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: shade, width },
    x: own.flatMap(([a, b]) => [x[a], x[b], null]), y: own.flatMap(([a, b]) => [y[a], y[b], null]),
  });
  const each = Math.ceil(pairs.length / WIDTHS.length) || 1;
  const edges = WIDTHS.map((width, at) => lines(pairs.slice(at * each, (at + 1) * each).filter((pair) => !ofChosen(pair)), width, color("edge")));
  const middles = {
    type: "scatter", mode: "markers", hoverinfo: "text", text: pairs.map(saidOfPair), marker: { size: 9, color: color("edge"), opacity: 0 },
    x: pairs.map(([a, b]) => (x[a] + x[b]) / 2), y: pairs.map(([a, b]) => (y[a] + y[b]) / 2), customdata: pairs.map(() => null),
  };
  const nodes = {
    type: "scatter", mode: "markers+text", x, y, hoverinfo: "text", customdata: x.map((_, at) => at), hovertext: x.map((_, at) => said(at)),
    text: x.map((_, at) => (count <= 48 || size[at] > 20 || at === chosen ? String(at) : "")), textposition: "top center", textfont: { size: 11 },
    marker: {
      size, opacity: 1, color: x.map((_, at) => (at === chosen ? LINES[3] : LINES[0])), line: { width: 1, color: color("card") },
      symbol: loads.map((load) => (load === 0 ? "circle-open" : "circle")),
    },
  };
  plot.style.height = `${narrow.matches ? 430 : 620}px`;
  const bare = { showgrid: false, zeroline: false, showticklabels: false };
  draw(plot, [...edges, lines(pairs.filter(ofChosen), 3.2, LINES[3]), middles, nodes], {
    xaxis: bare, yaxis: { ...bare, scaleanchor: "x" }, showlegend: false, hovermode: "closest", margin: { l: 10, r: 10, t: 20, b: 10 },
  });
}
