/* One read of stored elements: decode, count, sum, and write them in float64 for a product. */
#define _DEFAULT_SOURCE
#include "decode.h"

#ifdef __linux__
#include <sys/mman.h>
enum { POPULATE_READ = 22 }; /* MADV_POPULATE_READ, which older headers lack */
#endif

const int probe_elements_abi = 5;

/* A bin has 20 leading bits (distribution.BIN_BITS). Each 256 of them are a row, followed by half
   a line of memory: elements of few bits have bins at powers of two, which would share a set of
   the cache. So would a number and its negative: rows of negative numbers have their halves
   exchanged. */
static inline uint32_t bin_of(uint32_t word) {
  return (word >> 12 ^ (word >> 24 & 128)) + (word >> 20) * 8;
}

/* What is known of the elements so far; mirrored by native/elements.py. */
typedef struct {
  int64_t count, nan, inf, zero, small, subnormal; /* count: of finite elements */
  double mean, s2, s3, s4;                         /* central power sums of the finite ones */
  float min, max, epsilon; /* extremes of the finite ones; magnitude up to which `small` counts */
  int32_t bf16, f16;       /* whether these formats hold every finite one */
  uint32_t nonzero;        /* least magnitude of a finite one that is not zero, less one, as a word */
} tally;

typedef double v8d __attribute__((vector_size(64)));
typedef float v8f __attribute__((vector_size(32)));

#define INFINITE 0x7f800000
#define NORMAL 0x00800000

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static double sum_of(const v8d *v) {
  v8d x = *v;
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* Sums over both sets of elements. Source: Pebay 2008, SAND2008-6212. */
static void merge(tally *t, int64_t count, double mean, double s2, double s3, double s4) {
  double a = (double)t->count, b = (double)count, n = a + b;
  double delta = mean - t->mean, step = delta / n;
  if (t->count) {
    s4 += t->s4 + delta * step * step * step * a * b * (a * a - a * b + b * b) +
          6 * step * step * (a * a * s2 + b * b * t->s2) + 4 * step * (a * s3 - b * t->s3);
    s3 += t->s3 + delta * step * step * a * b * (a - b) + 3 * step * (a * s2 - b * t->s2);
    s2 += t->s2 + delta * step * a * b;
    mean = t->mean + b * step;
  }
  t->count += count, t->mean = mean, t->s2 = s2, t->s3 = s3, t->s4 = s4;
}

/* Extremes of float32 words: as ordered integers, of the magnitudes; zeros, and bits that occur. */
typedef struct {
  int32_t low, high, zeros, largest, bits;
  uint32_t nonzero;
} range;

CLONES static range range_of(const float *x, int n) {
  int32_t low = INT32_MAX, high = INT32_MIN, zeros = 0, largest = 0, bits = 0;
  uint32_t nonzero = UINT32_MAX;
  for (int i = 0; i < n; i++) {
    int32_t word;
    memcpy(&word, x + i, 4);
    int32_t size = word & 0x7fffffff, order = word < 0 ? word ^ 0x7fffffff : word;
    bits |= word;
    low = order < low ? order : low;
    high = order > high ? order : high;
    zeros += size == 0;
    nonzero = (uint32_t)size - 1 < nonzero ? (uint32_t)size - 1 : nonzero;
    largest = size > largest ? size : largest;
  }
  return (range){low, high, zeros, largest, bits, nonzero};
}

static float unordered(int32_t order) {
  return float_of((uint32_t)(order < 0 ? order ^ 0x7fffffff : order));
}

/* Eight float32 as float64; a loop, because gcc 12 splits a conversion of vectors in two. */
#define WIDEN(d, x) \
  for (int lane = 0; lane < 8; lane++) (d)[lane] = (x)[lane]

CLONES static void widen(const float *restrict x, int64_t n, double *restrict y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i];
}

CLONES static double mean_of(const float *x, int n) {
  v8d sums[2] = {{0}}, d;
  double rest = 0;
  int whole = n & ~15;
  for (int i = 0; i < whole; i += 16)
    for (int k = 0; k < 2; k++) {
      WIDEN(d, x + i + 8 * k);
      sums[k] += d;
    }
  for (int i = whole; i < n; i++) rest += x[i];
  sums[0] += sums[1];
  return (sum_of(sums) + rest) / n;
}

/* Sums of powers about an origin. Eight lanes twice, and the same order everywhere: no compiler may
   reorder a sum. Bins are counted and float64 is written meanwhile, if not null, because they wait
   for memory, and sums for arithmetic. */
CLONES static void sums_about(double origin, const float *restrict x, int n, double *restrict sums,
                              uint32_t *restrict bins, double *restrict y) {
  v8d s1[2] = {{0}}, s2[2] = {{0}}, s3[2] = {{0}}, s4[2] = {{0}};
  double r1 = 0, r2 = 0, r3 = 0, r4 = 0;
  uint32_t places[TILE];
  int whole = n & ~15;
  for (int i = 0; bins && i < n; i++) places[i] = bin_of(word_of(x[i]));
  for (int i = 0; i < whole; i += 16) {
    __builtin_prefetch(x + i + TILE); /* what the next tile comes from */
    for (int k = 0; k < 2; k++) {
      v8d d;
      WIDEN(d, x + i + 8 * k);
      if (y) memcpy(y + i + 8 * k, &d, 64);
      d -= origin;
      v8d square = d * d;
      s1[k] += d, s2[k] += square, s3[k] += square * d, s4[k] += square * square;
    }
    for (int k = 0; bins && k < 16; k += 2) {
      uint64_t two; /* one read of memory instead of two */
      memcpy(&two, places + i + k, 8);
      bins[two & UINT32_MAX]++, bins[two >> 32]++;
    }
  }
  for (int i = whole; i < n; i++) {
    if (bins) bins[places[i]]++;
    if (y) y[i] = x[i];
    double d = x[i] - origin, square = d * d;
    r1 += d, r2 += square, r3 += square * d, r4 += square * square;
  }
  s1[0] += s1[1], s2[0] += s2[1], s3[0] += s3[1], s4[0] += s4[1];
  sums[0] = sum_of(s1) + r1, sums[1] = sum_of(s2) + r2;
  sums[2] = sum_of(s3) + r3, sums[3] = sum_of(s4) + r4;
}

static void add_sums(tally *t, uint32_t *bins, const float *x, int n, double *y) {
  double s[4], origin = t->count ? t->mean : mean_of(x, n);
  sums_about(origin, x, n, s, bins, y);
  /* Where the mean is farther from the origin than the elements from their mean, differences of
     these sums would lose digits. */
  if (2 * s[0] * s[0] > n * s[1]) origin = mean_of(x, n), sums_about(origin, x, n, s, 0, 0);
  double d = s[0] / n, s2 = s[1] - d * s[0];
  merge(t, n, origin + d, s2, s[2] - 3 * d * s[1] + 2 * d * d * s[0],
        s[3] - 4 * d * s[2] + 6 * d * d * s[1] - 3 * d * d * d * s[0]);
}

/* Whether float16 holds all of these: within its range, and multiples of its smallest number. */
CLONES static int fits_f16(const float *x, int n) {
  uint32_t bad = 0;
  for (int i = 0; i < n; i++) {
    int32_t size = (int32_t)(word_of(x[i]) & 0x7fffffff);
    /* Below 2**-14 they are multiples of 2**-24, as numbers from 0.5 are; the largest is 65504. */
    uint32_t fine = (uint32_t)(size < 0x38800000 ? size : 0);
    bad |= word_of((float_of(fine) + 0.5f) - 0.5f) ^ fine;
    bad |= size > 0x477fe000;
  }
  return !bad;
}

CLONES static void add_small(tally *t, const float *x, int n) {
  int32_t below = 0, small = 0, epsilon = (int32_t)word_of(t->epsilon);
  for (int i = 0; i < n; i++) {
    int32_t size = (int32_t)(word_of(x[i]) & 0x7fffffff);
    below += size != 0 && size < NORMAL, small += size <= epsilon;
  }
  t->subnormal += below, t->small += small;
}

static void add_tile(tally *t, uint32_t *bins, const float *x, int n, double *y) {
  float finite[TILE];
  range r = range_of(x, n);
  if (r.largest >= INFINITE) {
    int kept = 0;
    if (y) widen(x, n, y), y = 0;
    for (int i = 0; i < n; i++) {
      uint32_t size = word_of(x[i]) & 0x7fffffff;
      if (size < INFINITE)
        finite[kept++] = x[i];
      else if (size == INFINITE)
        t->inf++;
      else
        t->nan++;
    }
    if (!kept) return;
    x = finite, n = kept, r = range_of(x, n);
  }
  float low = unordered(r.low), high = unordered(r.high);
  t->min = low < t->min ? low : t->min;
  t->max = high > t->max ? high : t->max;
  t->nonzero = r.nonzero < t->nonzero ? r.nonzero : t->nonzero;
  t->bf16 = t->bf16 && !(r.bits & 0xffff);
  /* The bits of the fraction decide nearly always. */
  t->f16 = t->f16 && !(r.bits & 0x1fff) && fits_f16(x, n);
  t->zero += r.zeros;
  if (r.nonzero < NORMAL - 1 || r.nonzero < word_of(t->epsilon))
    add_small(t, x, n);
  else
    t->small += r.zeros; /* all others are larger */
  add_sums(t, bins, x, n, y);
}

/* The same lines as one where nothing is between them, so that no tile ends with a line. */
static source joined(source from) {
  if (from.kind < CODES &&
      from.stride == from.width / BLOCKS[from.kind].elements * BLOCKS[from.kind].bytes)
    from.width *= from.lines, from.lines = 1;
  return from;
}

/* Decode all lines into float32, contiguous. */
void probe_elements_decode(const source *from, float *out) {
  for (int64_t line = 0; line < from->lines; line++)
    for (int64_t col = 0; col < from->width; col += TILE)
      decode_tile(from, line, 1, col, least(TILE, from->width - col),
                  out + line * from->width + col);
}

/* A tile of aligned floats of one line needs no copy. */
static const float *in_place(const source *from, int64_t lines, int64_t line, int64_t col) {
  const uint8_t *s = from->words + line * from->stride + 4 * col;
  return from->kind == F32 && lines == 1 && (uintptr_t)s % 4 == 0 ? (const float *)s : 0;
}

/* Decode into everything that is not null: counts and sums, counts of leading bits, float64. */
void probe_elements_add(const source *stored, tally *t, uint32_t *bins, double *panel) {
  float decoded[TILE];
  source from = joined(*stored);
  /* Whole lines that fit into a tile, or the part of a line that does. */
  int64_t wide = least(from.width, TILE), high = TILE / wide;
  for (int64_t line = 0; line < from.lines; line += high)
    for (int64_t col = 0; col < from.width; col += wide) {
      int64_t lines = least(high, from.lines - line), width = least(wide, from.width - col);
      const float *x = in_place(&from, lines, line, col);
      if (!x) decode_tile(&from, line, lines, col, width, decoded), x = decoded;
      double *y = panel ? panel + line * from.width + col : 0;
      if (t)
        add_tile(t, bins, x, (int)(lines * width), y);
      else if (y)
        widen(x, lines * width, y);
    }
}

/* Words of 8 and 16 bits: all patterns are counted. Neighbours go to different tables, because an
   addition would wait for the one before it to the same number. */
static void count_bytes(const uint8_t *s, int64_t n, uint32_t *counts, const double *values,
                        double *panel) {
  for (int64_t i = 0; counts && i < n; i++) counts[s[i] + 256 * (i & 3)]++;
  if (panel)
    for (int64_t i = 0; i < n; i++) panel[i] = values[s[i]];
}

static void count_words(const uint8_t *s, int64_t n, uint32_t *counts) {
  uint32_t *other = counts + 65536;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    uint64_t four;
    __builtin_prefetch(s + 2 * i + 1024); /* what the next elements come from */
    memcpy(&four, s + 2 * i, 8);
    counts[four & 65535]++, other[four >> 16 & 65535]++;
    counts[four >> 32 & 65535]++, other[four >> 48]++;
  }
  for (; i < n; i++) counts[s[2 * i] | s[2 * i + 1] << 8]++;
}

CLONES static void widen_bf16(const uint8_t *restrict s, int64_t n, double *restrict y) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t word;
    memcpy(&word, s + 2 * i, 2);
    y[i] = float_of((uint32_t)word << 16);
  }
}

CLONES static void widen_f16(const uint8_t *restrict s, int64_t n, double *restrict y) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t word;
    memcpy(&word, s + 2 * i, 2);
    y[i] = half(word);
  }
}

/* Count patterns in two tables of 65,536 or four of 256, and write float64, if not null.
   values: of all bytes, for F8. */
void probe_elements_count(const source *stored, uint32_t *counts, const double *values,
                          double *panel) {
  source from = joined(*stored);
  for (int64_t line = 0; line < from.lines; line++)
    for (int64_t col = 0; col < from.width; col += TILE) {
      const uint8_t *s = from.words + line * from.stride + BLOCKS[from.kind].bytes * col;
      int64_t n = least(TILE, from.width - col);
      double *y = panel ? panel + line * from.width + col : 0;
      if (from.kind == F8) {
        count_bytes(s, n, counts, values, y);
        continue;
      }
      if (counts) count_words(s, n, counts);
      if (y) (from.kind == BF16 ? widen_bf16 : widen_f16)(s, n, y);
    }
}

/* Bring all pages of the words into memory: in one call where the system can (Linux 5.14), or else
   by reading a byte of each. */
void probe_elements_touch(const uint8_t *words, int64_t stride, int64_t lines, int64_t nbytes) {
#ifdef __linux__
  uintptr_t within = (uintptr_t)words & 4095; /* on larger pages the call fails */
  if (lines == 1 && !madvise((void *)(words - within), (size_t)nbytes + within, POPULATE_READ)) return;
#endif
  volatile uint8_t read;
  for (int64_t line = 0; line < lines; line++, words += stride)
    for (int64_t i = 0; i < nbytes; i += 4096) read = words[i];
  (void)read;
}
