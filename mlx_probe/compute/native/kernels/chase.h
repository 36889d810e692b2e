/* Band to tridiagonal by bulge chasing, for the bandwidth B (a multiple of LANES).
 *
 * A Householder reflector empties a column below the subdiagonal; applied from both sides it fills a
 * bulge below the band, whose first column the next reflector empties, B rows further down, until
 * the end of the matrix. The rest of each bulge stays for the next column's sweep to remove (Bischof,
 * Lang and Sun, "A framework for symmetric band reduction", ACM TOMS 26, 2000). Each sweep works on
 * pairs of B x B blocks, one on the diagonal and the one below it.
 *
 * Element (i, j) of the band is at j * (2B + 1) + i - j, so that any block is a dense matrix with
 * 2B elements from column to column. 2B columns of zeros follow the last one. */
#define NAME_(x, b) x##b
#define NAME__(x, b) NAME_(x, b)
#define NAME(x) NAME__(x, B)
#define LEAD (2 * B)
#define VECS (B / LANES)

/* Both sides of a block on the diagonal: D <- H D H, H = I - tau v v', as the rank-two update
 * D - v w' - w v' with w = tau D v - (tau^2 v'Dv / 2) v. What lies above the diagonal in memory
 * belongs to other columns, and stays. */
CLONES static void NAME(diagonal)(double *block, const double *v, double tau)
{
    vec x[VECS], y[VECS], own[VECS], dot = {0};
    double w[B];
    for (int k = 0; k < VECS; k++) {
        x[k] = LOAD(v + k * LANES);
        y[k] = (vec){0};
    }
    for (int d = 0; d < VECS; d++) {
        vec dots[LANES];
        for (int c = 0; c < LANES; c++) {
            const double *column = block + (d * LANES + c) * LEAD;
            double s = v[d * LANES + c];
            ivec a = (ivec)LOAD(column + d * LANES);
            y[d] += (vec)(a & FROM(c)) * s;
            vec dots_c = (vec)(a & FROM(c + 1)) * x[d];
            for (int k = d + 1; k < VECS; k++) {
                vec below = LOAD(column + k * LANES);
                y[k] += below * s;
                dots_c += below * x[k];
            }
            dots[c] = dots_c;
        }
        SUMS(own[d], dots);
    }
    for (int k = 0; k < VECS; k++) {
        y[k] += own[k];
        dot += y[k] * x[k];
    }
    double half = -.5 * tau * tau * SUM(dot);
    for (int k = 0; k < VECS; k++) {
        y[k] = y[k] * tau + x[k] * half;
        STORE(w + k * LANES, y[k]);
    }
    for (int d = 0; d < VECS; d++)
        for (int c = 0; c < LANES; c++) {
            double *column = block + (d * LANES + c) * LEAD;
            double s = v[d * LANES + c], t = w[d * LANES + c];
            vec change = x[d] * t + y[d] * s;
            STORE(column + d * LANES, LOAD(column + d * LANES) - (vec)((ivec)change & FROM(c)));
            for (int k = d + 1; k < VECS; k++)
                STORE(column + k * LANES, LOAD(column + k * LANES) - (x[k] * t + y[k] * s));
        }
}

/* The block below: O <- G (O H), where the new reflector G empties the first column of O H. The two
 * are one rank-two update. Replaces v by G's vector; returns G's tau. */
CLONES static double NAME(below)(double *block, double *v, double tau)
{
    vec x[VECS], y[VECS], square = {0}, both = {0};
    double z[B], scale = 0, next = 0;
    for (int k = 0; k < VECS; k++) y[k] = (vec){0};
    for (int c = 0; c < B; c++)
        for (int k = 0; k < VECS; k++) y[k] += LOAD(block + c * LEAD + k * LANES) * v[c];
    for (int k = 0; k < VECS; k++) {
        y[k] *= tau;
        x[k] = LOAD(block + k * LANES) - y[k] * v[0];
    }
    double head = x[0][0], first;
    x[0][0] = 0;
    for (int k = 0; k < VECS; k++) square += x[k] * x[k];
    first = reflector(head, SUM(square), &next, &scale);
    for (int k = 0; k < VECS; k++) x[k] *= scale;
    x[0][0] = 1;
    for (int k = 0; k < VECS; k++) both += y[k] * x[k];
    double inner = SUM(both);
    for (int d = 0; d < B; d += LANES) {
        vec dots[LANES], sums;
        for (int c = 0; c < LANES; c++) {
            const double *column = block + (d + c) * LEAD;
            dots[c] = LOAD(column) * x[0];
            for (int k = 1; k < VECS; k++) dots[c] += LOAD(column + k * LANES) * x[k];
        }
        SUMS(sums, dots);
        STORE(z + d, (sums - LOAD(v + d) * inner) * next);
    }
    for (int c = 1; c < B; c++)
        for (int k = 0; k < VECS; k++) {
            double *p = block + c * LEAD + k * LANES;
            STORE(p, LOAD(p) - (y[k] * v[c] + x[k] * z[c]));
        }
    block[0] = first;
    for (int r = 1; r < B; r++) block[r] = 0;
    for (int k = 0; k < VECS; k++) STORE(v + k * LANES, x[k]);
    return next;
}

CLONES static void NAME(chase)(int64_t n, double *band)
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
        for (int64_t r = s + 1; r < n; r += B) {
            NAME(diagonal)(band + r * (LEAD + 1), v, tau);
            if (r + B >= n) break;
            tau = NAME(below)(band + r * (LEAD + 1) + B, v, tau);
        }
    }
}
#undef NAME_
#undef NAME__
#undef NAME
#undef LEAD
#undef VECS
