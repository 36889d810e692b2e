/* What needs vectors, once for each instruction set: ISA, LANES (doubles of a register), TARGET and
 * FUSED(a, s, c), which is a s + c for a number s, are given. The lanes are explicit: the order of every sum is fixed. Macros, not functions: clang
 * refuses vectors as arguments where the processor may lack registers of their width. */
#define JOIN(a, b) a##_##b
#define EXPAND(a, b) JOIN(a, b)
#define SIMD(name) EXPAND(name, ISA)
#define vec SIMD(vec)
#define ivec SIMD(ivec)
#define uvec SIMD(uvec)

typedef double vec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
typedef int64_t ivec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
typedef uint64_t uvec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

/* Lanes of two vectors in a row, picked by a list of constants. */
#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* SUM: of all lanes. TRANSPOSED(a): the sums of the lanes of each of a[0 .. LANES), as one vector. */
#if LANES == 8
#define SUM(v) ((((v)[0] + (v)[4]) + ((v)[2] + (v)[6])) + (((v)[1] + (v)[5]) + ((v)[3] + (v)[7])))
#define PAIRS(a, b) (PICK(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + PICK(a, b, 1, 9, 3, 11, 5, 13, 7, 15))
#define QUADS(a, b) (PICK(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + PICK(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define HALVES(a, b) (PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#define TRANSPOSED(a) HALVES(QUADS(PAIRS(a[0], a[1]), PAIRS(a[2], a[3])), QUADS(PAIRS(a[4], a[5]), PAIRS(a[6], a[7])))
#elif LANES == 4
#define SUM(v) (((v)[0] + (v)[2]) + ((v)[1] + (v)[3]))
#define PAIRS(a, b) (PICK(a, b, 0, 4, 2, 6) + PICK(a, b, 1, 5, 3, 7))
#define HALVES(a, b) (PICK(a, b, 0, 1, 4, 5) + PICK(a, b, 2, 3, 6, 7))
#define TRANSPOSED(a) HALVES(PAIRS(a[0], a[1]), PAIRS(a[2], a[3]))
#else
#define SUM(v) ((v)[0] + (v)[1])
#define TRANSPOSED(a) (PICK(a[0], a[1], 0, 2) + PICK(a[0], a[1], 1, 3))
#endif

/* A mask of the lanes from c on. */
#define FROM(c) (*(const ivec *)(MASKS + 8 - (c)))

#define B 16
#include "chase.h"
#undef B
#define B 48
#include "chase.h"
#undef B
#include "panel.h"
#include "product.h"
#include "gram.h"
#include "minors.h"

static const simd SIMD(simd) = {SIMD(product), SIMD(gram), SIMD(chase16), SIMD(chase48),
                                SIMD(minors), SIMD(factor), GROUP};

#undef vec
#undef ivec
#undef uvec
#undef JOIN
#undef EXPAND
#undef SIMD
#undef LOAD
#undef STORE
#undef PICK
#undef SUM
#undef PAIRS
#undef QUADS
#undef HALVES
#undef TRANSPOSED
#undef FROM
#undef GROUP
#undef WIDE
#undef ISA
#undef LANES
#undef TARGET
#undef FUSED
