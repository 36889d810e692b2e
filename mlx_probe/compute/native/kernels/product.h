/* C <- C - A S in registers: two vectors of rows of a few columns at a time. The products of tiles are too
 * small for what a BLAS does before each of them. */
#define ROWS (2 * LANES)

/* Element (i, j) of S is at i * down + j * right. */
#define BLOCK(wide, down, right) \
    do { \
        vec sums[wide][2]; \
        const double *x = a, *y = s; \
        _Pragma("GCC unroll 16") for (int j = 0; j < wide; j++) sums[j][0] = sums[j][1] = (vec){0}; \
        for (int64_t l = 0; l < k; l++, x += la, y += down) { \
            vec first = LOAD(x), second = LOAD(x + LANES); \
            _Pragma("GCC unroll 16") for (int j = 0; j < wide; j++) \
                sums[j][0] = FUSED(first, y[j * right], sums[j][0]), sums[j][1] = FUSED(second, y[j * right], sums[j][1]); \
        } \
        /* C comes last: larger than the sums, it would round each of their terms. */ \
        _Pragma("GCC unroll 16") for (int j = 0; j < wide; j++) \
            for (int i = 0; i < 2; i++) STORE(c + j * lc + i * LANES, LOAD(c + j * lc + i * LANES) - sums[j][i]); \
        c += wide * lc, s += wide * right; \
    } while (0)

/* The n columns of some rows. */
#define ALONG(down, right) \
    do { \
        int64_t left = n; \
        for (; left >= 3 * LANES / 2; left -= 3 * LANES / 2) BLOCK(3 * LANES / 2, down, right); \
        for (; left >= LANES / 2; left -= LANES / 2) BLOCK(LANES / 2, down, right); \
        for (; left; left--) BLOCK(1, down, right); \
    } while (0)

/* m x n, k columns of A; S as it is stored, or its transpose. */
TARGET static void SIMD(product)(int64_t m, int64_t n, int64_t k, const double *a, int64_t la, const double *from,
                                 int64_t ls, int transposed, double *to, int64_t lc)
{
    /* Where registers are short, BLAS is faster, or has units of its own (Apple's). */
    int64_t whole = LANES == 2 ? 0 : m - m % ROWS;
    for (int64_t r = 0; r < whole; r += ROWS, a += ROWS) {
        const double *s = from;
        double *c = to + r;
        if (transposed)
            ALONG(ls, 1);
        else
            ALONG(1, ls);
    }
    gemm(transposed ? "NT" : "NN", m - whole, n, k, -1, a, la, from, ls, 1, to + whole, lc);
}
#undef ROWS
#undef BLOCK
#undef ALONG
