/* QR factorization of a panel of m rows and b columns, b a multiple of 4, by Householder reflectors; it may be
 * wider than high. Leaves R on and above the diagonal, V below it, and T with Q = I - V T V' (Schreiber
 * and Van Loan, "A storage-efficient WY representation", SIAM J. Sci. Stat. Comput. 10, 1989).
 * The rows after the last one are zeros, as many as a vector has lanes. */
TARGET static void SIMD(factor)(int64_t m, int64_t b, double *a, int64_t lead, double *t)
{
    for (int64_t i = 0; i < b * b; i++) t[i] = 0;
    for (int64_t c = 0; c < b && c < m; c++) {
        double *v = a + c * lead, tau = 0, scale = 0, head = v[c];
        vec square = {0};
        v[c] = 0;
        for (int64_t i = c; i < m; i += LANES) square += LOAD(v + i) * LOAD(v + i);
        head = reflector(head, SUM(square), &tau, &scale);
        for (int64_t i = c; i < m; i += LANES) STORE(v + i, LOAD(v + i) * scale);
        v[c] = 1;
        for (int64_t j = 0; j < b; j += 4) {
            double *column = a + j * lead, factor[4];
            vec dots[4] = {{0}};
            /* In parts: one long sum of equal terms rounds to the same side again and again. */
            for (int64_t i = c; i < m;) {
                vec part[4] = {{0}};
                for (int64_t end = least(m, i + 16 * LANES); i < end; i += LANES)
                    for (int k = 0; k < 4; k++) part[k] += LOAD(column + i + k * lead) * LOAD(v + i);
                for (int k = 0; k < 4; k++) dots[k] += part[k];
            }
            for (int k = 0; k < 4; k++) {
                if (j + k < c) t[j + k + c * b] = SUM(dots[k]);
                factor[k] = j + k > c ? tau * SUM(dots[k]) : 0;
            }
            if (j + 3 <= c) continue;
            for (int64_t i = c; i < m; i += LANES) {
                vec x = LOAD(v + i);
                for (int k = 0; k < 4; k++) STORE(column + i + k * lead, LOAD(column + i + k * lead) - x * factor[k]);
            }
        }
        v[c] = head;
        /* T's next column is -tau T V'v: from above, each element needs those from its own row on. */
        for (int64_t i = 0; i < c; i++) {
            double sum = 0;
            for (int64_t j = i; j < c; j++) sum += t[i + j * b] * t[j + c * b];
            t[i + c * b] = -tau * sum;
        }
        t[c + c * b] = tau;
    }
}
