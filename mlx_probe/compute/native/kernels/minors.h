/* Last minors of T - x, and changes of sign on the way, for GROUP shifts side by side: as many as hide the
 * latency of a product in the registers that there are. See sturm.h. */
#define WIDE (LANES == 2 ? 4 : 3)
#define GROUP (WIDE * LANES)

TARGET static void SIMD(minors)(const tridiagonal *s, int64_t at, int counted)
{
    const uvec magnitude = (uvec){0} + INT64_MAX, field = (uvec){0} + 0x7ff0000000000000;
    vec x[WIDE], p[WIDE], q[WIDE];
    uvec count[WIDE], exponent[WIDE];
    for (int g = 0; g < WIDE; g++) {
        x[g] = LOAD(s->x + at + g * LANES);
        p[g] = (vec){0} + 1;
        q[g] = (vec){0};
        count[g] = exponent[g] = (uvec){0};
    }
    for (int64_t i = 0; i < s->n;) {
        int64_t stop = i + 8 < s->n ? i + 8 : s->n;
        if (counted)
            for (; i < stop; i++)
                for (int g = 0; g < WIDE; g++) {
                    vec next = (s->d[i] - x[g]) * p[g] - s->e2[i] * q[g];
                    count[g] += ((uvec)next ^ (uvec)p[g]) >> 63;
                    q[g] = p[g];
                    p[g] = next;
                }
        else
            for (; i < stop; i++)
                for (int g = 0; g < WIDE; g++) {
                    vec next = (s->d[i] - x[g]) * p[g] - s->e2[i] * q[g];
                    q[g] = p[g];
                    p[g] = next;
                }
        for (int g = 0; g < WIDE; g++) {
            uvec a = (uvec)p[g] & magnitude, b = (uvec)q[g] & magnitude, larger = (uvec)((ivec)a > (ivec)b);
            uvec power = ((a & larger) | (b & ~larger)) & field;
            vec inverse = (vec)(0x7fe0000000000000 - power);
            p[g] *= inverse;
            q[g] *= inverse;
            exponent[g] += (power >> 52) - 1023;
        }
    }
    for (int g = 0; g < WIDE; g++) {
        STORE(s->minor + at + g * LANES, p[g]);
        *(uvec *)(s->exponent + at + g * LANES) = exponent[g];
        if (counted) *(uvec *)(s->count + at + g * LANES) = count[g];
    }
}
