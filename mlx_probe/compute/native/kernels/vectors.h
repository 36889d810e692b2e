/* Vectors of eight doubles: one AVX-512 register, two of AVX2, four of NEON. The lanes are explicit,
 * so that the order of every sum is the same on each of them. Macros, not functions: clang refuses
 * vectors as arguments where the processor may lack registers of their width. */
#include <stdint.h>
#include <stdlib.h>

enum { LANES = 8 };
typedef double vec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
typedef int64_t ivec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* One copy of a function for each generation of x86, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && (defined(__clang__) ? __clang_major__ >= 18 : __GNUC__ >= 12)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define CLONES
#endif

#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

/* Lanes i of two vectors in a row, as a constant list of sixteen numbers picks them. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* Sum of all lanes. */
#define SUM(v) ((((v)[0] + (v)[4]) + ((v)[2] + (v)[6])) + (((v)[1] + (v)[5]) + ((v)[3] + (v)[7])))

/* out = the eight sums of the lanes of a[0..8), which it destroys. */
#define SUMS(out, a) do { \
    for (int k_ = 0; k_ < 4; k_++) \
        (a)[k_] = SHUFFLE((a)[2 * k_], (a)[2 * k_ + 1], 0, 8, 2, 10, 4, 12, 6, 14) \
                + SHUFFLE((a)[2 * k_], (a)[2 * k_ + 1], 1, 9, 3, 11, 5, 13, 7, 15); \
    for (int k_ = 0; k_ < 2; k_++) \
        (a)[k_] = SHUFFLE((a)[2 * k_], (a)[2 * k_ + 1], 0, 1, 8, 9, 4, 5, 12, 13) \
                + SHUFFLE((a)[2 * k_], (a)[2 * k_ + 1], 2, 3, 10, 11, 6, 7, 14, 15); \
    (out) = SHUFFLE((a)[0], (a)[1], 0, 1, 2, 3, 8, 9, 10, 11) \
          + SHUFFLE((a)[0], (a)[1], 4, 5, 6, 7, 12, 13, 14, 15); \
} while (0)
