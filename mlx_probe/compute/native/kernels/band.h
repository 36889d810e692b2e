/* Full to band by Householder reflectors, a panel of b columns at a time (Bischof, Lang and Sun, 2000).
 *
 * The QR factorization of the panel below the band gives Q = I - V T V'. The rest of the matrix becomes
 * Q' A Q = A - V W' - W V' with W = X T - V (T' V' X T) / 2 and X = A V. Both the update of one panel and
 * the product of the next read the whole matrix: they are done together, tile by tile, so that
 * a tile is in the cache for its three products. */
typedef struct {
    int64_t n, b, tile, first, lead; /* order; bandwidth; side of a tile; first row of the rest; lead of vectors */
    int64_t cuts[STRIPS + 1];        /* columns at which the strips begin */
    double *a;
    const double *last, *v;          /* V W V of the panel before, NULL for none; V of this one */
    double *x;                       /* A V, the part of each strip for itself */
} pass;

/* Update and product of the tiles in a strip of columns. */
static void strip(const void *job, int64_t part)
{
    const pass *s = job;
    const int64_t n = s->n, b = s->b, lead = s->lead;
    double *x = s->x + part * b * lead;
    for (int64_t c = 0; c < b; c++) memset(x + s->cuts[part] + c * lead, 0, (n - s->cuts[part]) * sizeof *x);
    for (int64_t j = s->cuts[part]; j < s->cuts[part + 1]; j += s->tile) {
        int64_t wide = s->cuts[part + 1] - j < s->tile ? s->cuts[part + 1] - j : s->tile;
        for (int64_t i = j, high; i < n; i += high) {
            high = i == j ? wide : n - i < s->tile ? n - i : s->tile;
            double *tile = s->a + i + j * n;
            if (s->last) gemm("NT", high, wide, 2 * b, -1, s->last + i, lead, s->last + j + b * lead, lead, 1, tile, n);
            if (i == j)
                for (int64_t c = 0; c < wide; c++)
                    for (int64_t r = c + 1; r < wide; r++) tile[c + r * n] = tile[r + c * n];
            gemm("NN", high, b, wide, 1, tile, n, s->v + j, lead, 1, x + i, lead);
            if (i != j) gemm("TN", wide, b, high, 1, tile, n, s->v + i, lead, 1, x + j, lead);
        }
    }
}

/* Strips with about as many elements each, of whole tiles: they depend on the order only. */
static int64_t cut(pass *s)
{
    int64_t rest = s->n - s->first, strips = rest / 512;
    strips = strips < 1 ? 1 : strips > STRIPS ? STRIPS : strips;
    for (int64_t k = 0; k <= strips; k++)
        s->cuts[k] = s->first + (int64_t)(rest * (1 - sqrt(1 - (double)k / strips))) / s->tile * s->tile;
    s->cuts[strips] = s->n;
    return strips;
}

static int64_t strips_of(int64_t n) { return n < 1024 ? 1 : n / 512 < STRIPS ? n / 512 : STRIPS; }

/* Doubles of work that full_to_band takes. */
static int64_t reduction_work(int64_t n, int64_t b) { return (4 + strips_of(n)) * b * (n + LANES) + 3 * b * b; }

static void full_to_band(int64_t n, double *a, int64_t b, int64_t tile, double *work, const volatile int64_t *cores)
{
    const int64_t lead = n + LANES;  /* not a power of two: columns share no cache lines */
    double *last = work, *w = last + b * lead, *v = last + 3 * b * lead, *x = v + b * lead;
    double *t = x + strips_of(n) * b * lead, *k = t + b * b, *k2 = k + b * b;
    pass s = {.n = n, .b = b, .tile = tile, .lead = lead, .a = a, .v = v, .x = x};
    memset(work, 0, 4 * b * lead * sizeof *work);
    for (int64_t j = 0;; j += b) {
        int64_t rows = n - j, wide = rows < b ? rows : b, m = rows - b;
        if (s.last) gemm("NT", rows, wide, 2 * b, -1, last + j, lead, w + j, lead, 1, a + j + j * n, n);
        if (m <= 0) return;
        double *panel = a + j + b + j * n;
        int64_t reflectors = m < b ? m : b, info = 0;
        s.first = j + b;
        memset(t, 0, b * b * sizeof *t);
        dgeqrt3(&m, &reflectors, panel, &n, t, &b, &info);
        for (int64_t c = 0; c < b; c++) {
            double *column = v + s.first + c * lead;
            memset(column, 0, m * sizeof *column);
            if (c >= m) continue;
            column[c] = 1;
            memcpy(column + c + 1, panel + c + 1 + c * n, (m - c - 1) * sizeof *column);
        }
        if (m < b) {  /* the last panel is wider than high: Q' of its square part times the rest */
            double *rest = panel + m * n;
            gemm("TN", m, b - m, m, 1, v + s.first, lead, rest, n, 0, k, b);
            gemm("TN", m, b - m, m, 1, t, b, k, b, 0, k2, b);
            gemm("NN", m, b - m, m, -1, v + s.first, lead, k2, b, 1, rest, n);
        }
        int64_t strips = cut(&s);
        share(cores, strips, strip, &s);
        for (int64_t p = 1; p < strips; p++)
            for (int64_t c = 0; c < b; c++)
                for (int64_t i = s.cuts[p]; i < n; i++) x[i + c * lead] += x[i + (p * b + c) * lead];
        gemm("NN", m, b, b, 1, x + s.first, lead, t, b, 0, w + s.first, lead);
        gemm("TN", b, b, m, 1, v + s.first, lead, w + s.first, lead, 0, k, b);
        gemm("TN", b, b, b, 1, t, b, k, b, 0, k2, b);
        gemm("NN", m, b, b, -.5, v + s.first, lead, k2, b, 1, w + s.first, lead);
        for (int64_t c = 0; c < b; c++)
            for (int64_t at = 0; at <= 2; at += 2)
                memcpy(last + s.first + (at * b + c) * lead, v + s.first + c * lead, m * sizeof *v);
        s.last = last;
    }
}

/* The band in the form that chase.h needs; it may begin where the matrix does. */
static void pack_band(int64_t n, const double *a, int64_t b, double *band)
{
    const int64_t lead = 2 * b + 1;
    for (int64_t j = 0; j < n; j++) {
        int64_t kept = n - j < b + 1 ? n - j : b + 1;
        memmove(band + j * lead, a + j * (n + 1), kept * sizeof *a);
        memset(band + j * lead + kept, 0, (lead - kept) * sizeof *a);
    }
    memset(band + n * lead, 0, (2 * b + 8) * lead * sizeof *a);
}
