/* C <- C + L R' for a Gram matrix or a tile of it, C row by row: L's rows in groups of LANES against R's in
 * strips of three vectors, whose products stay in registers. Both are packed first, DEEP terms of all sums at
 * a time: strip by strip, the strips' rows side by side. */
#define WIDTH (3 * LANES)

/* Element (row, term) of a side is at row * down + term * right; zeros after the last row. */
TARGET static void SIMD(pack)(int64_t rows, int64_t terms, const double *side, int64_t down, int64_t right,
                              double *restrict to)
{
    for (int64_t r = 0; r < rows; r += WIDTH, side += WIDTH * down, to += WIDTH * terms) {
        int64_t left = least(WIDTH, rows - r);
        if (down == 1 && left == WIDTH)
            for (int64_t t = 0; t < terms; t++)
                for (int i = 0; i < 3; i++)
                    STORE(to + t * WIDTH + i * LANES, LOAD(side + t * right + i * LANES));
        else
            for (int64_t t = 0; t < terms; t += 8)
                for (int64_t i = 0; i < WIDTH; i++)
                    for (int64_t k = t; k < t + 8 && k < terms; k++)
                        to[k * WIDTH + i] = i < left ? side[i * down + k * right] : 0;
    }
}

/* A group of rows against a strip; `high` rows and `wide` columns of them are C's. */
TARGET static void SIMD(add_block)(int64_t terms, const double *group, const double *strip, int64_t high,
                                   int64_t wide, double *c, int64_t lc)
{
    vec sums[LANES][3];
    _Pragma("GCC unroll 8") for (int j = 0; j < LANES; j++) sums[j][0] = sums[j][1] = sums[j][2] = (vec){0};
    for (int64_t t = 0; t < terms; t++, group += WIDTH, strip += WIDTH) {
        vec first = LOAD(strip), second = LOAD(strip + LANES), third = LOAD(strip + 2 * LANES);
        _Pragma("GCC unroll 8") for (int j = 0; j < LANES; j++) {
            sums[j][0] = FUSED(first, group[j], sums[j][0]);
            sums[j][1] = FUSED(second, group[j], sums[j][1]);
            sums[j][2] = FUSED(third, group[j], sums[j][2]);
        }
    }
    if (high >= LANES && wide >= WIDTH) {
        _Pragma("GCC unroll 8") for (int j = 0; j < LANES; j++, c += lc)
            _Pragma("GCC unroll 8") for (int i = 0; i < 3; i++)
                STORE(c + i * LANES, LOAD(c + i * LANES) + sums[j][i]);
        return;
    }
    double edge[LANES * WIDTH];
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < 3; i++) STORE(edge + j * WIDTH + i * LANES, sums[j][i]);
    for (int64_t j = 0; j < high && j < LANES; j++)
        for (int64_t i = 0; i < wide && i < WIDTH; i++) c[j * lc + i] += edge[j * WIDTH + i];
}

TARGET static void SIMD(gram)(const sides *s, double *work)
{
    int64_t strips = (s->wide + WIDTH - 1) / WIDTH;
    for (int64_t t = 0; t < s->terms; t += DEEP) {
        int64_t terms = least(DEEP, s->terms - t);
        double *right = work, *left = s->half ? work : work + strips * WIDTH * terms;
        SIMD(pack)(s->wide, terms, s->right + t * s->across, s->down, s->across, right);
        if (!s->half) SIMD(pack)(s->high, terms, s->left + t * s->across, s->down, s->across, left);
        for (int64_t j = 0; j < s->wide; j += WIDTH)
            for (int64_t r = 0; r < s->high && (!s->half || r < j + WIDTH); r += LANES)
                SIMD(add_block)(terms, left + r / WIDTH * WIDTH * terms + r % WIDTH, right + j * terms, s->high - r,
                                s->wide - j, s->c + r * s->lead + j, s->lead);
    }
}
#undef WIDTH
