/* From stored words to float32: the operations of the packings' own decoders, in their order. */
#ifndef PROBE_DECODE_H
#define PROBE_DECODE_H

#include <stdint.h>
#include <string.h>

/* Several versions of a function, of which the processor's is taken when the library is loaded.
   All of them give the same bits: none reorders or contracts an operation. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

/* Into each version; clang would call one that is common to all. */
#define INLINE static inline __attribute__((always_inline))

/* Elements that are decoded at a time: as float32, with their bins, they stay in the first cache */
#define TILE 2048

/* Lines of stored elements; mirrored by native/elements.py, which checks all bounds. */
typedef struct {
  const uint8_t *words;  /* first word of the first line */
  int64_t stride;        /* bytes from line to line (of words, if words hold several lines) */
  int64_t lines, width;  /* extents in elements */
  int32_t kind;          /* as below */
  int32_t bits;          /* of a code; of `CODES` and `COLUMNS` only */
  const float *table;    /* CODES: number of each byte, or of both of its codes of 4 bits */
  const float *zero, *scale, *bias; /* of groups; a null zero or bias is left out */
  int64_t factors;       /* scales from line to line, or from group to group of lines */
  const int32_t *groups; /* COLUMNS and INTERLEAVED: group of each line */
  int64_t group, phase;  /* CODES: columns of a group; those of the first one before the lines */
} source;

/* CODES: along the lines. COLUMNS: a word has a code of each of several lines (GPTQ). INTERLEAVED:
   along the lines, the eight of a word in AWQ's order. */
enum { F32, F16, BF16, F8, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K,
       CODES, COLUMNS, INTERLEAVED };

static inline float float_of(uint32_t word) {
  float x;
  memcpy(&x, &word, 4);
  return x;
}

static inline uint32_t word_of(float x) {
  uint32_t word;
  memcpy(&word, &x, 4);
  return word;
}

static inline float half(uint32_t h) {
  /* A float of a half's exponent and fraction is 2**112 times too small; that of a subnormal
     half would be slow to scale, so that it is made of an integer. */
  uint32_t exponent = h & 0x7c00, offset = exponent == 0x7c00 ? 224u << 23 : 112u << 23;
  float normal = float_of(((h & 0x7fff) << 13) + offset);
  float small = (float)(int32_t)(h & 1023) * 0x1p-24f;
  return float_of(word_of(exponent ? normal : small) | (h & 0x8000) << 16);
}

static inline float half_at(const uint8_t *s) {
  return half((uint32_t)s[0] | (uint32_t)s[1] << 8);
}

/* ggml's blocks. Source: ggml-common.h, and gguf's quants.py for the order of operations. They come
   out as codes of a byte, and a scale and an addend of each group of codes. */

INLINE void halves(const uint8_t *s, int64_t n, int bytes, float *x) {
  uint32_t words[TILE / 32];
  for (int64_t i = 0; i < n; i++, s += bytes) words[i] = (uint32_t)s[0] | (uint32_t)s[1] << 8;
  for (int64_t i = 0; i < n; i++) x[i] = half(words[i]);
}

#define ONES 0x0101010101010101u

/* Some bits of each of eight bytes. */
static inline uint64_t bits_at(const uint8_t *s, int shift, int mask) {
  uint64_t word;
  memcpy(&word, s, 8);
  return word >> shift & (uint64_t)mask * ONES;
}

/* The bits of a byte, from the lowest up, as eight bytes. */
static inline uint64_t bits_of(uint8_t byte) {
  return ((byte * ONES & 0x8040201008040201u) + 127 * ONES) >> 7 & ONES;
}

/* 32 codes of 4 or 5 bits: the fifth ones first, then bytes of two. */
INLINE void affine(const uint8_t *restrict s, int64_t n, uint8_t *restrict code,
                   float *restrict scale, float *restrict bias, int fives, int biased) {
  int bytes = 18 + 2 * biased + 4 * fives;
  halves(s, n, bytes, scale);
  if (biased) halves(s + 2, n, bytes, bias);
  for (s += 2 + 2 * biased; n--; s += bytes, code += 32) {
    const uint8_t *q = s + 4 * fives;
    for (int i = 0; i < 32; i += 8) {
      uint64_t word = bits_at(q + i % 16, i / 16 * 4, 15);
      if (fives) word |= bits_of(s[i / 8]) << 4;
      memcpy(code + i, &word, 8);
    }
  }
}

#define UNPACK(kind) \
  CLONES static void kind(const uint8_t *restrict s, int64_t n, uint8_t *restrict code, \
                          float *restrict scale, float *restrict bias)

UNPACK(q4_0) { affine(s, n, code, scale, bias, 0, 0); }
UNPACK(q4_1) { affine(s, n, code, scale, bias, 0, 1); }
UNPACK(q5_0) { affine(s, n, code, scale, bias, 1, 0); }
UNPACK(q5_1) { affine(s, n, code, scale, bias, 1, 1); }

UNPACK(q8_0) {
  (void)bias;
  halves(s, n, 34, scale);
  for (; n--; s += 34, code += 32)
    for (int i = 0; i < 32; i++) code[i] = s[2 + i] ^ 128;
}

UNPACK(q2_k) {
  for (; n--; s += 84) {
    float d = half_at(s + 80), m = half_at(s + 82);
    for (int j = 0; j < 16; j++, code += 16) {
      const uint8_t *q = s + 16 + 32 * (j / 8) + 16 * (j % 2);
      *scale++ = d * (float)(s[j] & 15), *bias++ = -(m * (float)(s[j] >> 4));
      int shift = j / 2 % 4 * 2;
      for (int i = 0; i < 16; i += 8) {
        uint64_t word = bits_at(q + i, shift, 3);
        memcpy(code + i, &word, 8);
      }
    }
  }
}

UNPACK(q3_k) {
  (void)bias;
  for (; n--; s += 110) {
    float d = half_at(s + 108);
    for (int j = 0; j < 16; j++, code += 16) {
      const uint8_t *high = s + 16 * (j % 2), *q = s + 32 + 32 * (j / 8) + 16 * (j % 2);
      const uint8_t *packed = s + 96;
      int low4 = packed[j % 8] >> (j / 8 * 4) & 15, high2 = packed[8 + j % 4] >> (j / 4 * 2) & 3;
      *scale++ = d * (float)((low4 | high2 << 4) - 32);
      int shift = j / 2 % 4 * 2, bit = j / 2;
      for (int i = 0; i < 16; i += 8) {
        uint64_t word = bits_at(q + i, shift, 3) | bits_at(high + i, bit, 1) << 2;
        memcpy(code + i, &word, 8);
      }
    }
  }
}

/* The j-th of eight scales and minima of 6 bits each, packed into 12 bytes. */
static inline void scale_min(const uint8_t *s, int j, float *scale, float *min) {
  int both = s[j % 4 + 8];
  *scale = (float)(j < 4 ? s[j] & 63 : (both & 15) | (s[j - 4] >> 2 & 48));
  *min = (float)(j < 4 ? s[j + 4] & 63 : both >> 4 | (s[j] >> 2 & 48));
}

INLINE void nibbles_k(const uint8_t *restrict s, int64_t n, uint8_t *restrict code,
                      float *restrict scale, float *restrict bias, int fives) {
  for (; n--; s += fives ? 176 : 144) {
    float d = half_at(s), m = half_at(s + 2);
    const uint8_t *fifth = s + 16, *q = s + (fives ? 48 : 16);
    for (int j = 0; j < 8; j++, code += 32, scale++, bias++) {
      scale_min(s + 4, j, scale, bias);
      *scale *= d, *bias *= -m;
      for (int i = 0; i < 32; i += 8) {
        uint64_t word = bits_at(q + 32 * (j / 2) + i, j % 2 * 4, 15);
        if (fives) word |= bits_at(fifth + i, j, 1) << 4;
        memcpy(code + i, &word, 8);
      }
    }
  }
}

UNPACK(q4_k) { nibbles_k(s, n, code, scale, bias, 0); }
UNPACK(q5_k) { nibbles_k(s, n, code, scale, bias, 1); }

UNPACK(q6_k) {
  (void)bias;
  for (; n--; s += 210) {
    float d = half_at(s + 208);
    for (int j = 0; j < 16; j++, code += 16) {
      const uint8_t *q = s + 64 * (j / 8) + 32 * (j / 2 % 2) + 16 * (j % 2);
      const uint8_t *high = s + 128 + 32 * (j / 8) + 16 * (j % 2);
      *scale++ = d * (float)(int8_t)s[192 + j];
      int shift = j / 4 % 2 * 4, pair = j / 2 % 4 * 2;
      for (int i = 0; i < 16; i += 8) {
        uint64_t word = bits_at(q + i, shift, 15) | bits_at(high + i, pair, 3) << 4;
        memcpy(code + i, &word, 8);
      }
    }
  }
}

/* How many elements take how many bytes, by kind; codes that share a scale, and the one of zero. */
static const struct {
  void (*unpack)(const uint8_t *, int64_t, uint8_t *, float *, float *);
  int elements, bytes, group, zero, biased;
} BLOCKS[] = {
    [F32] = {0, 1, 4, 0, 0, 0},
    [F16] = {0, 1, 2, 0, 0, 0},
    [BF16] = {0, 1, 2, 0, 0, 0},
    [F8] = {0, 1, 1, 0, 0, 0},
    [Q4_0] = {q4_0, 32, 18, 32, 8, 0},
    [Q4_1] = {q4_1, 32, 20, 32, 0, 1},
    [Q5_0] = {q5_0, 32, 22, 32, 16, 0},
    [Q5_1] = {q5_1, 32, 24, 32, 0, 1},
    [Q8_0] = {q8_0, 32, 34, 32, 128, 0},
    [Q2_K] = {q2_k, 256, 84, 16, 0, 1},
    [Q3_K] = {q3_k, 256, 110, 16, 4, 0},
    [Q4_K] = {q4_k, 256, 144, 32, 0, 1},
    [Q5_K] = {q5_k, 256, 176, 32, 0, 1},
    [Q6_K] = {q6_k, 256, 210, 16, 32, 0},
};

/* Elements of blocks, unpacked. */
typedef struct {
  uint8_t code[TILE];
  float scale[TILE / 16], bias[TILE / 16];
} coded;

INLINE void scale_groups(const uint8_t *restrict code, const float *restrict scale,
                         const float *restrict bias, int64_t n, int zero, int group, int biased,
                         float *restrict x) {
  for (int64_t k = 0; k < n; k++, code += group, x += group) {
    float d = scale[k], m = biased ? bias[k] : 0;
#pragma GCC unroll 1 /* whole vectors instead of scalars */
    for (int i = 0; i < group; i++) {
      float scaled = (float)(code[i] - zero) * d;
      x[i] = biased ? scaled + m : scaled;
    }
  }
}

/* n groups as float32. */
CLONES static void scaled(const coded *of, int64_t n, int zero, int group, int biased, float *x) {
  const float *d = of->scale, *m = of->bias;
  if (group == 32 && biased)
    scale_groups(of->code, d, m, n, zero, 32, 1, x);
  else if (group == 32)
    scale_groups(of->code, d, m, n, zero, 32, 0, x);
  else if (biased)
    scale_groups(of->code, d, m, n, zero, 16, 1, x);
  else
    scale_groups(of->code, d, m, n, zero, 16, 0, x);
}

/* Codes of 4 or 8 bits whose columns share factors in groups. */
CLONES static void codes(const source *from, const uint8_t *s, int64_t line, int64_t col,
                         int64_t width, float *x) {
  if (from->bits == 4)
    for (int64_t i = 0; i < width / 2; i++) memcpy(x + 2 * i, from->table + 2 * s[i], 8);
  else
    for (int64_t i = 0; i < width; i++) x[i] = from->table[s[i]];
  for (int64_t i = 0; i < width;) {
    int64_t at = from->phase + col + i, factor = line * from->factors + at / from->group;
    int64_t end = i + from->group - at % from->group;
    float zero = from->zero ? from->zero[factor] : 0, scale = from->scale[factor];
    if (end > width) end = width;
    if (from->bias) {
      float bias = from->bias[factor];
      for (; i < end; i++) x[i] = x[i] * scale + bias;
    } else {
      for (; i < end; i++) x[i] = (x[i] - zero) * scale;
    }
  }
}

/* A group of lines has a scale for each column. */
CLONES static void columns(const source *from, int64_t line, int64_t col, int64_t width, float *x) {
  int64_t per = 32 / from->bits, factor = from->groups[line] * from->factors + col;
  const uint8_t *s = from->words + line / per * from->stride + 4 * col;
  const float *zero = from->zero + factor, *scale = from->scale + factor;
  uint32_t mask = (1u << from->bits) - 1, shift = (uint32_t)(line % per * from->bits);
  for (int64_t i = 0; i < width; i++) {
    uint32_t word;
    memcpy(&word, s + 4 * i, 4);
    x[i] = ((float)(int32_t)(word >> shift & mask) - zero[i]) * scale[i];
  }
}

CLONES static void interleaved(const source *from, int64_t line, int64_t col, int64_t width,
                               float *x) {
  static const uint32_t SHIFT[8] = {0, 16, 4, 20, 8, 24, 12, 28};
  int64_t factor = from->groups[line] * from->factors + col;
  const uint8_t *s = from->words + line * from->stride + col / 2;
  const float *zero = from->zero + factor, *scale = from->scale + factor;
  for (int64_t i = 0; i < width; i += 8) {
    uint32_t word;
    memcpy(&word, s + i / 2, 4);
    for (int j = 0; j < 8; j++)
      x[i + j] = ((float)(int32_t)(word >> SHIFT[j] & 15) - zero[i + j]) * scale[i + j];
  }
}

/* Columns [col, col + width) of lines [line, line + lines) of blocks; returns how many groups. */
static int64_t unpack_tile(const source *from, int64_t line, int64_t lines, int64_t col,
                           int64_t width, coded *to) {
  int elements = BLOCKS[from->kind].elements, group = BLOCKS[from->kind].group;
  for (int64_t i = 0; i < lines; i++) {
    int64_t at = i * width, k = at / group;
    const uint8_t *s =
        from->words + (line + i) * from->stride + col / elements * BLOCKS[from->kind].bytes;
    BLOCKS[from->kind].unpack(s, width / elements, to->code + at, to->scale + k, to->bias + k);
  }
  return lines * width / group;
}

/* The same as float32, one line after the other; at most TILE elements. */
static void decode_tile(const source *from, int64_t line, int64_t lines, int64_t col, int64_t width,
                        float *x) {
  if (from->kind >= Q4_0 && from->kind < CODES) {
    coded to;
    int64_t groups = unpack_tile(from, line, lines, col, width, &to);
    int zero = BLOCKS[from->kind].zero, group = BLOCKS[from->kind].group;
    scaled(&to, groups, zero, group, BLOCKS[from->kind].biased, x);
    return;
  }
  for (int64_t end = line + lines; line < end; line++, x += width) {
    const uint8_t *s = from->words + line * from->stride;
    if (from->kind == F32)
      memcpy(x, s + 4 * col, 4 * (size_t)width);
    else if (from->kind == CODES)
      codes(from, s + col * from->bits / 8, line, col, width, x);
    else if (from->kind == COLUMNS)
      columns(from, line, col, width, x);
    else
      interleaved(from, line, col, width, x);
  }
}

#endif
