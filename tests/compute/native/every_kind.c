/* Decodes and sums random words of every kind of block, and prints the bits of what comes out. */
#include <stdio.h>

#include "elements.c"

enum { LINES = 3, WIDTH = 1280, BYTES = LINES * WIDTH * 4 };

static uint8_t words[BYTES];
static float decoded[LINES * WIDTH];
static double panel[LINES * WIDTH];
static uint32_t bins[4096 * 264], counts[2 * 65536];

/* FNV-1a, word by word. */
static uint64_t hash(const void *data, size_t size) {
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i < size; i += 4) {
    uint32_t word;
    memcpy(&word, (const char *)data + i, 4);
    sum = (sum ^ word) * 1099511628211u;
  }
  return sum;
}

/* The sign and the payload of a NaN that arithmetic makes differ between processors. */
static void same_nans(void) {
  for (int i = 0; i < LINES * WIDTH; i++) {
    if (decoded[i] != decoded[i]) decoded[i] = 0;
    if (panel[i] != panel[i]) panel[i] = 0;
  }
}

int main(void) {
  uint32_t state = 1;
  for (int i = 0; i < BYTES; i++) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    words[i] = (uint8_t)state;
  }
  for (int kind = 0; kind < CODES; kind++) {
    if (kind == F8) continue;
    int64_t stride = WIDTH / BLOCKS[kind].elements * BLOCKS[kind].bytes;
    source from = {.words = words, .stride = stride, .lines = LINES, .width = WIDTH, .kind = kind};
    if (kind == F16 || kind == BF16) {
      probe_elements_count(&from, counts, 0, panel);
      same_nans();
      printf("%d %llx %llx\n", kind, (unsigned long long)hash(counts, sizeof counts),
             (unsigned long long)hash(panel, sizeof panel));
      continue;
    }
    tally t = {.min = __builtin_inff(), .max = -__builtin_inff(), .epsilon = 1e-3f,
               .bf16 = 1, .f16 = 1, .nonzero = UINT32_MAX};
    probe_elements_decode(&from, decoded);
    probe_elements_add(&from, &t, bins, panel);
    same_nans();
    printf("%d %llx %llx %llx", kind, (unsigned long long)hash(decoded, sizeof decoded),
           (unsigned long long)hash(panel, sizeof panel),
           (unsigned long long)hash(bins, sizeof bins));
    printf(" %lld %lld %lld %lld %lld %lld", (long long)t.count, (long long)t.nan,
           (long long)t.inf, (long long)t.zero, (long long)t.small, (long long)t.subnormal);
    printf(" %a %a %a %a %a %a %d %d %x\n", t.mean, t.s2, t.s3, t.s4, t.min, t.max, t.bf16, t.f16,
           t.nonzero);
  }
  return 0;
}
