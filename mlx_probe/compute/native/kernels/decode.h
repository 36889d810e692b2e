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

/* Elements that are decoded at a time: as float32 they stay in the first cache. */
#define TILE 4096

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

/* ggml's blocks. Source: ggml-common.h, and gguf's quants.py for the order of operations. */

/* 32 codes of 4 or 5 bits: the fifth ones first, then bytes of two. */
static inline void affine(const uint8_t *s, int64_t n, float *x, int fives, int biased) {
  int zero = biased ? 0 : fives ? 16 : 8;
  for (; n--; s += 16, x += 32) {
    float d = half_at(s), m = biased ? half_at(s + 2) : 0;
    uint32_t fifth = 0;
    s += biased ? 4 : 2;
    if (fives) memcpy(&fifth, s, 4), s += 4;
    for (int i = 0; i < 16; i++) {
      float low = (float)((int)((s[i] & 15) | (fifth >> i & 1) << 4) - zero) * d;
      float high = (float)((int)((s[i] >> 4) | (fifth >> (16 + i) & 1) << 4) - zero) * d;
      x[i] = biased ? low + m : low, x[16 + i] = biased ? high + m : high;
    }
  }
}

CLONES static void q4_0(const uint8_t *s, int64_t n, float *x) { affine(s, n, x, 0, 0); }
CLONES static void q4_1(const uint8_t *s, int64_t n, float *x) { affine(s, n, x, 0, 1); }
CLONES static void q5_0(const uint8_t *s, int64_t n, float *x) { affine(s, n, x, 1, 0); }
CLONES static void q5_1(const uint8_t *s, int64_t n, float *x) { affine(s, n, x, 1, 1); }

CLONES static void q8_0(const uint8_t *s, int64_t n, float *x) {
  for (; n--; s += 34, x += 32) {
    float d = half_at(s);
    for (int i = 0; i < 32; i++) x[i] = (float)(int8_t)s[2 + i] * d;
  }
}

CLONES static void q2_k(const uint8_t *s, int64_t n, float *x) {
  for (; n--; s += 84) {
    float d = half_at(s + 80), m = half_at(s + 82);
    for (int j = 0; j < 16; j++, x += 16) {
      const uint8_t *q = s + 16 + 32 * (j / 8) + 16 * (j % 2);
      float scale = d * (float)(s[j] & 15), low = m * (float)(s[j] >> 4);
      int shift = j / 2 % 4 * 2;
      for (int i = 0; i < 16; i++) x[i] = scale * (float)(q[i] >> shift & 3) - low;
    }
  }
}

CLONES static void q3_k(const uint8_t *s, int64_t n, float *x) {
  for (; n--; s += 110) {
    float d = half_at(s + 108);
    for (int j = 0; j < 16; j++, x += 16) {
      const uint8_t *high = s + 16 * (j % 2), *q = s + 32 + 32 * (j / 8) + 16 * (j % 2);
      const uint8_t *packed = s + 96;
      int low4 = packed[j % 8] >> (j / 8 * 4) & 15, high2 = packed[8 + j % 4] >> (j / 4 * 2) & 3;
      float scale = d * (float)((low4 | high2 << 4) - 32);
      int shift = j / 2 % 4 * 2, bit = j / 2;
      for (int i = 0; i < 16; i++)
        x[i] = scale * (float)((q[i] >> shift & 3) - ((high[i] >> bit & 1) ^ 1) * 4);
    }
  }
}

/* The j-th of eight scales and minima of 6 bits each, packed into 12 bytes. */
static inline void scale_min(const uint8_t *s, int j, float *scale, float *min) {
  int both = s[j % 4 + 8];
  *scale = (float)(j < 4 ? s[j] & 63 : (both & 15) | (s[j - 4] >> 2 & 48));
  *min = (float)(j < 4 ? s[j + 4] & 63 : both >> 4 | (s[j] >> 2 & 48));
}

static inline void nibbles_k(const uint8_t *s, int64_t n, float *x, int fives) {
  for (; n--; s += fives ? 176 : 144) {
    float d = half_at(s), m = half_at(s + 2), scale, low;
    const uint8_t *fifth = s + 16, *q = s + (fives ? 48 : 16);
    for (int j = 0; j < 8; j++, x += 32) {
      scale_min(s + 4, j, &scale, &low);
      scale *= d, low *= m;
      for (int i = 0; i < 32; i++) {
        int code = q[32 * (j / 2) + i] >> j % 2 * 4 & 15;
        if (fives) code |= (fifth[i] >> j & 1) << 4;
        x[i] = scale * (float)code - low;
      }
    }
  }
}

CLONES static void q4_k(const uint8_t *s, int64_t n, float *x) { nibbles_k(s, n, x, 0); }
CLONES static void q5_k(const uint8_t *s, int64_t n, float *x) { nibbles_k(s, n, x, 1); }

CLONES static void q6_k(const uint8_t *s, int64_t n, float *x) {
  for (; n--; s += 210) {
    float d = half_at(s + 208);
    for (int j = 0; j < 16; j++, x += 16) {
      const uint8_t *q = s + 64 * (j / 8) + 32 * (j / 2 % 2) + 16 * (j % 2);
      const uint8_t *high = s + 128 + 32 * (j / 8) + 16 * (j % 2);
      float scale = d * (float)(int8_t)s[192 + j];
      int shift = j / 4 % 2 * 4, pair = j / 2 % 4 * 2;
      for (int i = 0; i < 16; i++)
        x[i] = scale * (float)(((q[i] >> shift & 15) | (high[i] >> pair & 3) << 4) - 32);
    }
  }
}

/* How many elements take how many bytes, by kind. */
static const struct {
  void (*decode)(const uint8_t *, int64_t, float *);
  int elements, bytes;
} BLOCKS[] = {
    [F32] = {0, 1, 4},         [F16] = {0, 1, 2},         [BF16] = {0, 1, 2},
    [F8] = {0, 1, 1},          [Q4_0] = {q4_0, 32, 18},   [Q4_1] = {q4_1, 32, 20},
    [Q5_0] = {q5_0, 32, 22},   [Q5_1] = {q5_1, 32, 24},   [Q8_0] = {q8_0, 32, 34},
    [Q2_K] = {q2_k, 256, 84},  [Q3_K] = {q3_k, 256, 110}, [Q4_K] = {q4_k, 256, 144},
    [Q5_K] = {q5_k, 256, 176}, [Q6_K] = {q6_k, 256, 210},
};

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

/* Columns [col, col + width) of lines [line, line + lines), one line after the other. */
static void decode_tile(const source *from, int64_t line, int64_t lines, int64_t col, int64_t width,
                        float *x) {
  for (int64_t end = line + lines; line < end; line++, x += width) {
    const uint8_t *s = from->words + line * from->stride;
    if (from->kind == F32)
      memcpy(x, s + 4 * col, 4 * (size_t)width);
    else if (from->kind == CODES)
      codes(from, s + col * from->bits / 8, line, col, width, x);
    else if (from->kind == COLUMNS)
      columns(from, line, col, width, x);
    else if (from->kind == INTERLEAVED)
      interleaved(from, line, col, width, x);
    else
      BLOCKS[from->kind].decode(s + col / BLOCKS[from->kind].elements * BLOCKS[from->kind].bytes,
                                width / BLOCKS[from->kind].elements, x);
  }
}

#endif
