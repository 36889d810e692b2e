/* Full to band by Householder reflectors, a panel of b columns at a time (Bischof, Lang and Sun, 2000).
 *
 * The QR factorization of the panel below the band gives Q = I - V T V'. The rest of the matrix becomes
 * Q' A Q = A - V W' - W V' with W = X T - V (T' V' X T) / 2 and X = A V. Both the update of one panel and
 * the product of the next read the whole matrix: they are done together, tile by tile, so that
 * a tile is in the cache for its three products. Each tile is moved to one piece of memory first. */
typedef struct {
    int64_t n, b, side, first, lead; /* order; bandwidth; side of a tile; first row of the rest; lead of vectors */
    int64_t cuts[STRIPS + 1];        /* tile columns at which the strips begin */
    const simd *simd;
    double *a;
    const double *last, *vt;         /* V W V of the panel before, NULL for none; V' of this one, row by row */
    double *xt;                      /* -(A V)', the part of each strip for itself; room for a column of tiles */
} matrix;

/* Tile (i, j), high and wide of it at the last row and column, with its height as its lead. */
static double *tile_at(const matrix *s, int64_t i, int64_t j, int64_t *high, int64_t *wide)
{
    *high = least(s->side, s->n - i * s->side);
    *wide = least(s->side, s->n - j * s->side);
    return s->a + j * s->side * s->n + i * s->side * *wide;
}

static int64_t tiles_of(const matrix *s) { return (s->n + s->side - 1) / s->side; }

/* A column of tiles, which is one piece of memory before and after. */
static void gather_tiles(const matrix *s, int64_t j, double *room)
{
    int64_t high, wide;
    double *column = tile_at(s, 0, j, &high, &wide);
    memcpy(room, column, s->n * wide * sizeof *room);
    for (int64_t i = j; i < tiles_of(s); i++) {
        double *tile = tile_at(s, i, j, &high, &wide);
        for (int64_t c = 0; c < wide; c++)
            memcpy(tile + c * high, room + i * s->side + c * s->n, high * sizeof *room);
    }
}

/* Rows from `row` on of the b columns there: out of the tiles, or the first 2b rows back into them. */
static void move_panel(const matrix *s, int64_t row, double *v, int back)
{
    int64_t j = row / s->side, offset = row - j * s->side, end = back ? least(s->n, row + 2 * s->b) : s->n;
    for (int64_t i = j; i * s->side < end; i++) {
        int64_t high, wide, top = i == j ? offset : 0;
        double *tile = tile_at(s, i, j, &high, &wide);
        int64_t rows = least(high, end - i * s->side) - top;
        for (int64_t c = 0; c < s->b && offset + c < wide; c++) {
            double *inside = tile + top + (offset + c) * high, *outside = v + i * s->side + top + c * s->lead;
            memcpy(back ? inside : outside, back ? outside : inside, rows * sizeof *v);
        }
    }
}

/* Update and product of the tiles in a strip of tile columns. */
static void strip(const void *job, int64_t part)
{
    const matrix *s = job;
    const int64_t b = s->b, lead = s->lead, side = s->side;
    const product_routine product = s->simd->product;
    double *xt = s->xt + part * b * lead;
    int64_t start = s->cuts[part] * side > s->first ? s->cuts[part] * side : s->first, high, wide;
    memset(xt + start * b, 0, (s->n - start) * b * sizeof *xt);
    for (int64_t j = s->cuts[part]; j < s->cuts[part + 1]; j++) {
        int64_t left = j * side > s->first ? 0 : s->first - j * side, col = j * side + left;
        for (int64_t i = j; i < tiles_of(s); i++) {
            double *tile = tile_at(s, i, j, &high, &wide);
            int64_t top = i == j ? left : 0, row = i * side + top, m = high - top, n = wide - left;
            tile += top + left * high;
            /* On the diagonal in narrow columns, which waste little above it. */
            for (int64_t c = 0, some = i == j ? 16 : n; s->last && c < n; c += some) {
                int64_t r = i == j ? c : 0;
                product(m - r, least(some, n - c), 2 * b, s->last + row + r, lead,
                        s->last + col + c + b * lead, lead, 1, tile + r + c * high, high);
            }
            if (i == j)
                for (int64_t c = 0; c < n; c++)
                    for (int64_t r = c + 1; r < n; r++) tile[c + r * high] = tile[r + c * high];
            product(b, m, n, s->vt + col * b, b, tile, high, 1, xt + row * b, b);
            if (i != j) product(b, n, m, s->vt + row * b, b, tile, high, 0, xt + col * b, b);
        }
    }
}

static int64_t strips_of(int64_t n) { return n < 1024 ? 1 : least(n / 512, STRIPS); }

/* Strips with about as many elements each: they depend on the order alone. */
static int64_t cut(matrix *s)
{
    int64_t begin = s->first / s->side, columns = tiles_of(s) - begin, strips = strips_of(s->n - s->first);
    for (int64_t k = 0; k <= strips; k++)
        s->cuts[k] = begin + (int64_t)(columns * (1 - sqrt(1 - (double)k / strips)));
    s->cuts[strips] = begin + columns;
    return strips;
}

/* Doubles of work that full_to_band takes. */
static int64_t reduction_work(int64_t n, int64_t b, int64_t side)
{
    int64_t parts = strips_of(n) * b;
    return (5 * b + (parts > side ? parts : side)) * (n + 8) + 3 * b * b;
}

static void full_to_band(matrix *s, double *work, const volatile int64_t *cores)
{
    const int64_t n = s->n, b = s->b, lead = s->lead = n + 8;  /* no power of two: it would crowd few cache lines */
    double *last = work, *w = last + b * lead, *v = last + 3 * b * lead, *vt = v + b * lead, *t = vt + b * lead;
    double *k = t + b * b, *k2 = k + b * b, *xt = k2 + b * b;
    s->vt = vt, s->xt = xt, s->last = NULL;
    for (int64_t j = 0; j < tiles_of(s); j++) gather_tiles(s, j, xt);
    memset(work, 0, 4 * b * lead * sizeof *work);
    for (int64_t j = 0;; j += b) {
        int64_t rows = n - j, m = rows - b, wide = least(rows, b);
        double *panel = v + j, *below = panel + b;
        move_panel(s, j, v, 0);
        if (s->last) gemm("NT", rows, wide, 2 * b, -1, last + j, lead, w + j, lead, 1, panel, lead);
        if (m > 0) s->simd->factor(m, b, below, lead, t);
        move_panel(s, j, v, 1);
        if (m <= 0) return;
        for (int64_t c = 0; c < b; c++) {
            memset(panel + c * lead, 0, least(b + c, rows) * sizeof *v);
            if (c < m) below[c + c * lead] = 1;
        }
        for (int64_t i = 0; i < m; i++)
            for (int64_t c = 0; c < b; c++) vt[(j + b + i) * b + c] = below[i + c * lead];
        s->first = j + b;
        int64_t strips = cut(s);
        share(cores, strips, strip, s);
        for (int64_t p = 1; p < strips; p++)
            for (int64_t i = s->cuts[p] * s->side * b; i < n * b; i++) xt[i] += xt[i + p * b * lead];
        gemm("TN", m, b, b, -1, xt + s->first * b, b, t, b, 0, w + s->first, lead);
        gemm("TN", b, b, m, 1, below, lead, w + s->first, lead, 0, k, b);
        gemm("TN", b, b, b, 1, t, b, k, b, 0, k2, b);
        gemm("NN", m, b, b, -.5, below, lead, k2, b, 1, w + s->first, lead);
        for (int64_t c = 0; c < b; c++)
            for (int64_t at = 0; at <= 2; at += 2)
                memcpy(last + s->first + (at * b + c) * lead, below + c * lead, m * sizeof *v);
        s->last = last;
    }
}

/* The band in the form that chase.h needs. */
static void pack_band(const matrix *s, double *band)
{
    const int64_t lead = 2 * s->b + 1;
    memset(band, 0, band_size(s->n, s->b) * sizeof *band);
    for (int64_t j = 0; j < s->n; j++)
        for (int64_t i = j; i <= j + s->b && i < s->n; i++) {
            int64_t high, wide;
            const double *tile = tile_at(s, i / s->side, j / s->side, &high, &wide);
            band[j * lead + i - j] = tile[i % s->side + j % s->side * high];
        }
}
