/* All eigenvalues of a symmetric float64 matrix, without vectors; and Gram matrices.
 *
 * Full to band by tiles of matrix products (own ones, or BLAS by address), band to tridiagonal by bulge
 * chasing, tridiagonal by Sturm counts. The result has the same bits for any number of threads. */
#define _POSIX_C_SOURCE 200112L
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <stdint.h>
#include <stdlib.h>

const int probe_eigen_abi = 4;

enum { NOT_FINITE = 1, NOT_CONVERGED = 2 };  /* results; 0 for success */
enum { STRIPS = 8, MOST_THREADS = 16 };

/* Fortran's calling convention: by reference, lengths of strings at the end. */
typedef void (*gemm_routine)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *,
                             const double *, const double *, const int64_t *, const double *, const int64_t *,
                             const double *, double *, const int64_t *, size_t, size_t);
static gemm_routine dgemm;

void probe_eigen_routines(gemm_routine gemm) { dgemm = gemm; }

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
 * 1 and its rest the column's times scale maps it to the returned head and zeros. A column whose squares
 * underflow is taken as zero: a wrong norm would give a matrix that is not orthogonal. */
static double reflector(double head, double square, double *tau, double *scale)
{
    double norm = head * head + square;
    if (square == 0 || norm < 1e-270) return head;
    double first = -copysign(sqrt(norm), head);
    *tau = (first - head) / first;
    *scale = 1 / (head - first);
    return first;
}

/* Signed all ones after zeros: read from the middle, a mask of the last lanes. */
static const int64_t MASKS[16] = {0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};

typedef struct simd simd;

/* A tridiagonal matrix of norm 1, and what its minors are evaluated for. */
typedef struct {
    int64_t n, shifts;
    const simd *simd;
    double *d, *e2;            /* e2[i] couples i - 1 and i; never 0, so that no two minors vanish */
    double *x, *minor;         /* shifts; the last minor of each is minor 2^exponent */
    int64_t *count, *exponent; /* eigenvalues below each shift */
    int counted;               /* whether they are wanted */
} tridiagonal;

/* C <- C - A S or A S'. */
typedef void (*product_routine)(int64_t m, int64_t n, int64_t k, const double *a, int64_t la, const double *s,
                                int64_t ls, int transposed, double *c, int64_t lc);

enum { DEEP = 128 }; /* terms of sums that are packed at a time */

/* C, high x wide, of which only the upper half counts if `half`, and what is added: the products of rows of both
 * sides. Element (row, term) of a side is at row * down + term * across. */
typedef struct {
    int64_t high, wide, terms, down, across, lead, half;
    const double *left, *right;
    double *c;
} sides;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What needs vectors, for one instruction set. */
struct simd {
    product_routine product;
    void (*gram)(const sides *, double *);
    void (*chase16)(int64_t, double *), (*chase48)(int64_t, double *);
    void (*minors)(const tridiagonal *, int64_t, int);
    void (*factor)(int64_t, int64_t, double *, int64_t, double *);
    int64_t group;
};

/* Products alone are fused, by name: fused reflectors of equal elements would round to the same side. */
#if defined(__x86_64__)
#include <immintrin.h>
#define ISA avx512
#define LANES 8
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma")))
#define FUSED(a, s, c) _mm512_fmadd_pd(a, _mm512_set1_pd(s), c)
#include "simd.h"
#define ISA avx2
#define LANES 4
#define TARGET __attribute__((target("avx2,fma")))
#define FUSED(a, s, c) _mm256_fmadd_pd(a, _mm256_set1_pd(s), c)
#include "simd.h"
#endif
#define ISA base
#define LANES 2
#define TARGET
#define FUSED(a, s, c) ((a) * (s) + (c))
#include "simd.h"

static const simd *instructions(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &simd_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &simd_avx2;
#endif
    return &simd_base;
}

/* Doubles of a band with the zeros after it. */
static int64_t band_size(int64_t n, int64_t b) { return (n + 2 * b + 8) * (2 * b + 1); }

#include "band.h"
#include "sturm.h"

/* Doubles of work for a product of sides; 0 where BLAS is to compute it. */
int64_t probe_gram_work(int64_t high, int64_t wide)
{
    return instructions() == &simd_base ? 0 : (high + wide + 2 * 24) * DEEP;
}

void probe_gram(const sides *s, double *work) { instructions()->gram(s, work); }

/* Wide bands suit matrices that the caches do not hold. A narrower one than 16 is no faster, and its
 * reflectors, more in number, round more. */
typedef struct {
    int64_t band, side; /* of the band; of a tile */
    void (*chase)(int64_t, double *);
} plan;

static plan plan_of(int64_t n, const simd *set)
{
    if (n < 2304) return (plan){16, 48, set->chase16};
    return (plan){48, 96, set->chase48};
}

/* Doubles of work for a matrix of an order. */
int64_t probe_eigen_work(int64_t n)
{
    plan p = plan_of(n, instructions());
    int64_t first = reduction_work(n, p.band, p.side), rest = band_size(n, p.band) + 2 * n + sturm_work(n);
    return first > rest ? first : rest;
}

/* Exponent field of the largest magnitude in the lower triangle: 0x7ff if it is not finite. */
static int64_t largest_exponent(int64_t n, const double *a)
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
    const simd *set = instructions();
    plan p = plan_of(n, set);
    int64_t power = largest_exponent(n, a);
    if (power == 0x7ff) return NOT_FINITE;
    /* Squares of elements must neither overflow nor underflow, unless they are negligible. */
    int shift = power < 1023 - 100 || power > 1023 + 100 ? (int)(1023 - power) : 0;
    if (shift)
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = j; i < n; i++) a[i + j * n] = ldexp(a[i + j * n], shift);
    matrix s = {.n = n, .b = p.band, .side = p.side, .simd = set, .a = a};
    double *band = work, *d = band + band_size(n, p.band), *e = d + n;
    full_to_band(&s, work, cores);
    pack_band(&s, band);
    p.chase(n, band);
    for (int64_t i = 0; i < n; i++) {
        d[i] = band[i * (2 * p.band + 1)];
        e[i] = band[i * (2 * p.band + 1) + 1];
    }
    int failed = tridiagonal_eigenvalues(n, d, e, set, e + n, cores, values);
    if (shift)
        for (int64_t i = 0; i < n; i++) values[i] = ldexp(values[i], -shift);
    return failed;
}
