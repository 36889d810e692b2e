/* The last two stages of the compiled eigen-solver for a band that something else made. */
#include "../mlx_probe/compute/native/kernels/eigen.c"

/* Doubles of a band with the zeros that chase.h needs, and of work. */
int64_t band_doubles(int64_t n, int64_t b) { return band_size(n, b); }
int64_t band_work(int64_t n) { return 2 * n + sturm_work(n); }

/* Ascending eigenvalues of a band of 16 or 48 subdiagonals; destroyed. */
int band_eigenvalues(int64_t n, int64_t b, double *band, double *work, double *values)
{
    const simd *set = instructions();
    double *d = work, *e = d + n;
    const int64_t cores = 1;
    (b == 16 ? set->chase16 : set->chase48)(n, band);
    for (int64_t i = 0; i < n; i++) {
        d[i] = band[i * (2 * b + 1)];
        e[i] = band[i * (2 * b + 1) + 1];
    }
    return tridiagonal_eigenvalues(n, d, e, set, e + n, &cores, values);
}
