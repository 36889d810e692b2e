/* Band to tridiagonal by bulge chasing, for the bandwidth B (a multiple of LANES).
 *
 * A Householder reflector empties a column below the subdiagonal; applied from both sides it fills a
 * bulge below the band, whose first column the next reflector empties, B rows further down, until
 * the end of the matrix. The rest of each bulge stays for the next column's sweep to remove (Bischof,
 * Lang and Sun, "A framework for symmetric band reduction", ACM TOMS 26, 2000).
 *
 * Element (i, j) of the band is at j * (2B + 1) + i - j, so that any block is a dense matrix with
 * 2B elements from column to column. 2B columns of zeros follow the last one. */
#define GLUE(a, b) a##b
#define GLUED(a, b) GLUE(a, b)
#define NAME(x) SIMD(GLUED(x, B))
#define LEAD (2 * B)
#define VECS (B / LANES)

/* Both sides of a B x B block D on the diagonal, the right side of the block O below it, and the left side by
 * the reflector that empties the first column of the result. Both are rank-two updates:
 *   D <- H D H = D - v w' - w v', w = tau D v - (tau^2 v'Dv / 2) v, H = I - tau v v'
 *   O <- G O H = O - y v' - u z', y = tau O v, z = next (O' u - (u'y) v), G = I - next u u'
 * The two blocks are independent: side by side, each hides the other's latencies. What lies above the
 * diagonal of D in memory belongs to other columns, and stays. Replaces v by u; returns next. */
TARGET static double NAME(step)(double *block, double *v, double tau)
{
    vec x[VECS], w[VECS], own[VECS], y[VECS], u[VECS], dot = {0}, square = {0}, both = {0};
    double ws[B], z[B], scale = 0, next = 0;
    for (int k = 0; k < VECS; k++) {
        x[k] = LOAD(v + k * LANES);
        w[k] = y[k] = (vec){0};
    }
    for (int d = 0; d < VECS; d++) {
        vec dots[LANES];
        for (int c = 0; c < LANES; c++) {
            const double *column = block + (d * LANES + c) * LEAD;
            double s = v[d * LANES + c];
            ivec a = (ivec)LOAD(column + d * LANES);
            w[d] += (vec)(a & FROM(c)) * s;
            dots[c] = (vec)(a & FROM(c + 1)) * x[d];
            for (int k = d + 1; k < VECS; k++) {
                vec lower = LOAD(column + k * LANES);
                w[k] += lower * s;
                dots[c] += lower * x[k];
            }
            for (int k = 0; k < VECS; k++) y[k] += LOAD(column + B + k * LANES) * s;
        }
        own[d] = TRANSPOSED(dots);
    }
    for (int k = 0; k < VECS; k++) {
        w[k] += own[k];
        dot += w[k] * x[k];
        y[k] *= tau;
        u[k] = LOAD(block + B + k * LANES) - y[k] * v[0];
    }
    double head = u[0][0], half = -.5 * tau * tau * SUM(dot);
    u[0][0] = 0;
    for (int k = 0; k < VECS; k++) square += u[k] * u[k];
    double first = reflector(head, SUM(square), &next, &scale);
    for (int k = 0; k < VECS; k++) {
        u[k] *= scale;
        w[k] = w[k] * tau + x[k] * half;
        STORE(ws + k * LANES, w[k]);
    }
    u[0][0] = 1;
    for (int k = 0; k < VECS; k++) both += y[k] * u[k];
    double inner = SUM(both);
    for (int d = 0; d < VECS; d++) {
        vec dots[LANES];
        for (int c = 0; c < LANES; c++) {
            const double *column = block + (d * LANES + c) * LEAD + B;
            dots[c] = LOAD(column) * u[0];
            for (int k = 1; k < VECS; k++) dots[c] += LOAD(column + k * LANES) * u[k];
        }
        STORE(z + d * LANES, (TRANSPOSED(dots) - x[d] * inner) * next);
    }
    for (int d = 0; d < VECS; d++)
        for (int c = 0; c < LANES; c++) {
            double *column = block + (d * LANES + c) * LEAD, *below = column + B;
            double s = v[d * LANES + c], t = ws[d * LANES + c], r = z[d * LANES + c];
            vec change = x[d] * t + w[d] * s;
            STORE(column + d * LANES, LOAD(column + d * LANES) - (vec)((ivec)change & FROM(c)));
            for (int k = d + 1; k < VECS; k++)
                STORE(column + k * LANES, LOAD(column + k * LANES) - (x[k] * t + w[k] * s));
            for (int k = 0; k < VECS; k++)
                STORE(below + k * LANES, LOAD(below + k * LANES) - (y[k] * s + u[k] * r));
        }
    block[B] = first;
    for (int r = 1; r < B; r++) block[B + r] = 0;
    for (int k = 0; k < VECS; k++) STORE(v + k * LANES, u[k]);
    return next;
}

TARGET static void NAME(chase)(int64_t n, double *band)
{
    for (int64_t s = 0; s < n - 2; s++) {
        double *column = band + s * (LEAD + 1) + 1, v[B], tau = 0, scale = 0, square = 0;
        for (int r = 1; r < B; r++) square += column[r] * column[r];
        column[0] = reflector(column[0], square, &tau, &scale);
        v[0] = 1;
        for (int r = 1; r < B; r++) {
            v[r] = column[r] * scale;
            column[r] = 0;
        }
        for (int64_t r = s + 1; r < n; r += B) tau = NAME(step)(band + r * (LEAD + 1), v, tau);
    }
}
#undef GLUE
#undef GLUED
#undef NAME
#undef LEAD
#undef VECS
