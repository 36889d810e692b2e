/* All eigenvalues of a symmetric float64 matrix, without vectors.
 *
 * Full to band by tiles of matrix products (BLAS by address), band to tridiagonal by bulge chasing,
 * tridiagonal by Sturm counts. The result has the same bits for any number of threads. */
#define _POSIX_C_SOURCE 200112L
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include "vectors.h"

const int probe_eigen_abi = 2;

enum { NOT_FINITE = 1, NOT_CONVERGED = 2 };  /* results; 0 for success */
enum { STRIPS = 8, MOST_THREADS = 16 };

/* Fortran's calling convention: by reference, lengths of strings at the end. */
typedef void (*gemm_routine)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *,
                             const double *, const double *, const int64_t *, const double *, const int64_t *,
                             const double *, double *, const int64_t *, size_t, size_t);
typedef void (*qr_routine)(const int64_t *, const int64_t *, double *, const int64_t *, double *,
                           const int64_t *, int64_t *);
static gemm_routine dgemm;
static qr_routine dgeqrt3;

void probe_eigen_routines(gemm_routine gemm, qr_routine qr) { dgemm = gemm, dgeqrt3 = qr; }

/* C <- beta C + alpha op(A) op(B), column by column in memory. */
static void gemm(const char *ways, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                 const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    if (m > 0 && n > 0 && k > 0)
        dgemm(ways, ways + 1, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc, 1, 1);
}

/* Parts of a job on as many threads as there are cores now; the parts do not depend on the number. */
typedef struct {
    void (*part)(const void *, int64_t);
    const void *job;
    int64_t parts, next;
} queue;

static void *take(void *of)
{
    queue *q = of;
    for (int64_t i; (i = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED)) < q->parts;) q->part(q->job, i);
    return NULL;
}

static void share(const volatile int64_t *cores, int64_t parts, void (*part)(const void *, int64_t), const void *job)
{
    queue q = {part, job, parts, 0};
    pthread_t helpers[MOST_THREADS];
    int64_t wanted = (*cores < parts ? *cores : parts) - 1, running = 0;
    while (running < wanted && running < MOST_THREADS && !pthread_create(helpers + running, NULL, take, &q))
        running++;
    take(&q);
    while (running) pthread_join(helpers[--running], NULL);
}

/* Householder's reflector of a column with a head and the squares of the rest: I - tau v v' with v's head
 * 1 and its rest the column's times scale maps it to the returned head and zeros. */
static double reflector(double head, double square, double *tau, double *scale)
{
    if (square == 0) return head;
    double first = -copysign(sqrt(head * head + square), head);
    *tau = (first - head) / first;
    *scale = 1 / (head - first);
    return first;
}

/* FROM(c): a mask of the lanes from c on. */
static const int64_t MASKS[2 * LANES] = {0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};
#define FROM(c) (*(const ivec *)(MASKS + LANES - (c)))

#define B 8
#include "chase.h"
#undef B
#define B 16
#include "chase.h"
#undef B
#define B 48
#include "chase.h"
#undef B
#include "band.h"
#include "sturm.h"

/* The three stages for a matrix of an order. Wide bands suit the first one, narrow ones the second. */
typedef struct {
    int64_t band, tile;
    void (*chase)(int64_t, double *);
} plan;

static plan plan_of(int64_t n)
{
    if (n < 160) return (plan){8, 64, chase8};
    if (n < 2304) return (plan){16, 64, chase16};
    return (plan){48, 128, chase48};
}

/* Doubles of a band with its zeros, and whether they fit where the matrix was. */
static int64_t band_size(int64_t n, int64_t b) { return (n + 2 * b + 8) * (2 * b + 1); }
static int fits(int64_t n, int64_t b) { return n > 2 * b && band_size(n, b) <= n * n; }

/* Doubles of work for a matrix of an order. */
int64_t probe_eigen_work(int64_t n)
{
    int64_t b = plan_of(n).band, first = reduction_work(n, b), last = sturm_work(n);
    return (fits(n, b) ? 0 : band_size(n, b)) + 2 * n + (first > last ? first : last);
}

/* Exponent field of the largest magnitude in the lower triangle: 0x7ff if it is not finite. */
CLONES static int64_t largest_exponent(int64_t n, const double *a)
{
    int64_t most = 0;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = j; i < n; i++) {
            int64_t bits = ((const int64_t *)a)[i + j * n] & INT64_MAX;
            most = bits > most ? bits : most;
        }
    return most >> 52;
}

/* Ascending eigenvalues of a matrix of order n by its lower triangle, column by column; destroyed.
 * cores: what this may use, read at each step, as another thread may change it.
 * Returns 0, NOT_FINITE or NOT_CONVERGED. */
int probe_eigenvalues(int64_t n, double *a, double *work, const volatile int64_t *cores, double *values)
{
    if (n < 1) return 0;
    plan p = plan_of(n);
    int64_t power = largest_exponent(n, a);
    if (power == 0x7ff) return NOT_FINITE;
    /* Squares of elements must neither overflow nor underflow. */
    int shift = power < 1023 - 400 || power > 1023 + 400 ? (int)(1023 - power) : 0;
    if (shift)
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = j; i < n; i++) a[i + j * n] = ldexp(a[i + j * n], shift);
    double *d = work, *e = d + n, *rest = e + n, *band = a;
    if (!fits(n, p.band)) {
        band = rest;
        rest += band_size(n, p.band);
    }
    full_to_band(n, a, p.band, p.tile, rest, cores);
    pack_band(n, a, p.band, band);
    p.chase(n, band);
    for (int64_t i = 0; i < n; i++) {
        d[i] = band[i * (2 * p.band + 1)];
        e[i] = band[i * (2 * p.band + 1) + 1];
    }
    int failed = tridiagonal_eigenvalues(n, d, e, rest, cores, values);
    if (shift)
        for (int64_t i = 0; i < n; i++) values[i] = ldexp(values[i], -shift);
    return failed;
}
