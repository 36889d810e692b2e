/* All eigenvalues of a symmetric tridiagonal matrix, each from a bracket of its own.
 *
 * The leading principal minors of T - x satisfy p_i = (d_i - x) p_{i-1} - e_{i-1}^2 p_{i-2}; the
 * changes of sign among them are the eigenvalues below x (Barth, Martin and Wilkinson, "Calculation of
 * the eigenvalues of a symmetric tridiagonal matrix by the method of bisection", Numer. Math. 9,
 * 1967). Each rounding changes d_i - x or e_{i-1}^2 by a few eps of itself: a count is that of a matrix
 * within a few eps of the norm of T, whatever its order. No division, so that vectors of
 * shifts advance at the speed of a product; powers of two are taken out every eighth row. */
enum { GROUP = 4 * LANES };  /* shifts side by side: as many as hide the latency of a product */

typedef struct {
    int64_t n;
    const double *d, *e2;      /* e2[i] couples i - 1 and i; never 0, so that no two minors vanish */
    double *x, *minor;         /* shifts; last minor of each, times 2^-exponent */
    int64_t *count, *exponent; /* eigenvalues below each shift */
    int64_t shifts;
} sturm;

CLONES static void count_group(const sturm *s, int64_t at)
{
    enum { G = GROUP / LANES };
    const ivec magnitude = (ivec){0} + INT64_MAX, field = (ivec){0} + 0x7ff0000000000000;
    vec x[G], p[G], q[G];
    ivec count[G], exponent[G];
    for (int g = 0; g < G; g++) {
        x[g] = LOAD(s->x + at + g * LANES);
        p[g] = (vec){0} + 1;
        q[g] = (vec){0};
        count[g] = exponent[g] = (ivec){0};
    }
    for (int64_t i = 0; i < s->n;) {
        for (int64_t stop = i + 8 < s->n ? i + 8 : s->n; i < stop; i++)
            for (int g = 0; g < G; g++) {
                vec next = (s->d[i] - x[g]) * p[g] - s->e2[i] * q[g];
                count[g] += (((ivec)next ^ (ivec)p[g]) < 0) & 1;
                q[g] = p[g];
                p[g] = next;
            }
        for (int g = 0; g < G; g++) {
            ivec a = (ivec)p[g] & magnitude, b = (ivec)q[g] & magnitude, larger = a > b;
            ivec power = ((a & larger) | (b & ~larger)) & field;
            vec inverse = (vec)(0x7fe0000000000000 - power);
            p[g] *= inverse;
            q[g] *= inverse;
            exponent[g] += (power >> 52) - 1023;
        }
    }
    for (int g = 0; g < G; g++) {
        STORE(s->minor + at + g * LANES, p[g]);
        *(ivec *)(s->count + at + g * LANES) = count[g];
        *(ivec *)(s->exponent + at + g * LANES) = exponent[g];
    }
}

enum { PART = 8 * GROUP };  /* shifts that a thread takes at a time */

static void count_part(const void *job, int64_t part)
{
    const sturm *s = job;
    int64_t stop = (part + 1) * PART < s->shifts ? (part + 1) * PART : s->shifts;
    for (int64_t at = part * PART; at < stop; at += GROUP) count_group(s, at);
}

/* One eigenvalue: count(low) <= k < count(high). */
typedef struct {
    double low, high, f_low, f_high; /* ends and the last minors there */
    int64_t e_low, e_high, n_low, n_high;
    double before;                   /* width some rounds ago */
    int64_t k, moved;                /* the end that moved last: -1, 1; 0 for none */
    int64_t slow;
} bracket;

/* The next shift inside a bracket of width > 2 tol: a share of the eigenvalues in it while there are
 * several, then the secant between its ends (Illinois: the weight of an end that stays is halved). */
static double next_shift(const bracket *b, double tol, int64_t round)
{
    double width = b->high - b->low, middle = b->low + .5 * width;
    if (b->n_high - b->n_low > 1)
        return round & 1 ? middle : b->low + width * (b->k - b->n_low + .5) / (b->n_high - b->n_low);
    if (b->slow || b->f_low == 0 || b->f_high == 0) return middle;
    int64_t power = b->e_high - b->e_low;
    power = power > 2000 ? 2000 : power < -2000 ? -2000 : power;
    double x = b->low + width / (1 - ldexp(b->f_high / b->f_low, (int)power));
    return x < b->low + tol ? b->low + tol : x > b->high - tol ? b->high - tol : x;
}

static void narrow(bracket *b, double x, double f, int64_t e, int64_t count, int64_t round)
{
    if (count <= b->k) {
        b->low = x, b->f_low = f, b->e_low = e, b->n_low = count;
        if (b->moved < 0) b->f_high *= .5;
        b->moved = -1;
    } else {
        b->high = x, b->f_high = f, b->e_high = e, b->n_high = count;
        if (b->moved > 0) b->f_low *= .5;
        b->moved = 1;
    }
    /* Graded spectra can stall the secant: bisect where three rounds did not halve the width. */
    b->slow = 0;
    if (round % 3 == 0) {
        b->slow = b->high - b->low > .5 * b->before;
        b->before = b->high - b->low;
    }
}

/* Doubles of work that tridiagonal_eigenvalues takes. */
static int64_t sturm_work(int64_t n) { return (6 + sizeof(bracket) / 8 + 1) * (n + GROUP); }

/* Ascending eigenvalues of diagonal d and subdiagonal e, both destroyed. */
static int tridiagonal_eigenvalues(int64_t n, double *d, const double *e, double *work,
                                   const volatile int64_t *cores, double *values)
{
    enum { ROUNDS = 400 };
    double norm = 0, sum = 0, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double radius = (i ? fabs(e[i - 1]) : 0) + (i < n - 1 ? fabs(e[i]) : 0);
        norm = fmax(norm, fabs(d[i]) + radius);
        sum += fabs(d[i]) + radius;
        low = fmin(low, d[i] - radius);
        high = fmax(high, d[i] + radius);
    }
    if (!isfinite(sum)) return NOT_FINITE;
    if (norm == 0) {
        for (int64_t i = 0; i < n; i++) values[i] = 0;
        return 0;
    }
    int64_t room = n + GROUP, shifts = (n + GROUP - 1) / GROUP * GROUP;
    double *e2 = work, *x = e2 + room, *minor = x + room;
    int64_t *count = (int64_t *)(minor + room), *exponent = count + room, *open = exponent + room;
    bracket *brackets = (bracket *)(open + room);
    /* To norm 1: minors of a few rows neither overflow nor underflow. */
    low = low / norm - 1e-15, high = high / norm + 1e-15;
    for (int64_t i = n - 1; i >= 0; i--) {
        double coupling = i ? e[i - 1] / norm : 0;
        d[i] /= norm;
        e2[i] = i ? fmax(coupling * coupling, 1e-34) : 0;
    }
    sturm s = {n, d, e2, x, minor, count, exponent, shifts};
    for (int64_t i = 0; i < shifts; i++) x[i] = low + (high - low) * (i + .5) / shifts;
    share(cores, (shifts + PART - 1) / PART, count_part, &s);
    for (int64_t k = 0, g = 0; k < n; k++) {
        while (g < shifts && count[g] <= k) g++;
        bracket *b = brackets + k;
        *b = (bracket){low, high, 0, 0, 0, 0, 0, n, 2 * (high - low), k, 0, 0};
        if (g) b->low = x[g - 1], b->f_low = minor[g - 1], b->e_low = exponent[g - 1], b->n_low = count[g - 1];
        if (g < shifts) b->high = x[g], b->f_high = minor[g], b->e_high = exponent[g], b->n_high = count[g];
        open[k] = k;
    }
    /* Of the largest eigenvalue's magnitude, which may be a third of the norm. */
    double tol = DBL_EPSILON * fmax(fabs(brackets[0].low), fabs(brackets[n - 1].high));
    int64_t active = n;
    for (int64_t round = 1; round < ROUNDS; round++) {
        int64_t kept = 0;
        for (int64_t i = 0; i < active; i++) {
            const bracket *b = brackets + open[i];
            if (b->high - b->low <= 2 * tol) continue;
            x[kept] = next_shift(b, tol, round);
            open[kept++] = open[i];
        }
        active = kept;
        if (!active) break;
        s.shifts = (active + GROUP - 1) / GROUP * GROUP;
        for (int64_t i = active; i < s.shifts; i++) x[i] = x[active - 1];
        share(cores, (s.shifts + PART - 1) / PART, count_part, &s);
        for (int64_t i = 0; i < active; i++)
            narrow(brackets + open[i], x[i], minor[i], exponent[i], count[i], round);
    }
    if (active) return NOT_CONVERGED;
    for (int64_t k = 0; k < n; k++) {
        values[k] = .5 * (brackets[k].low + brackets[k].high) * norm;
        /* Brackets of one cluster may overlap. */
        if (k && values[k] < values[k - 1]) values[k] = values[k - 1];
    }
    return 0;
}
