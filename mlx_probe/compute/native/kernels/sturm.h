/* All eigenvalues of a symmetric tridiagonal matrix, each from a bracket of its own.
 *
 * The leading principal minors of T - x satisfy p_i = (d_i - x) p_{i-1} - e_{i-1}^2 p_{i-2}; the
 * changes of sign among them are the eigenvalues below x (Barth, Martin and Wilkinson, "Calculation of
 * the eigenvalues of a symmetric tridiagonal matrix by the method of bisection", Numer. Math. 9,
 * 1967). Each rounding changes d_i - x or e_{i-1}^2 by a few eps of itself: a count is that of a matrix
 * within a few eps of the norm of T, whatever its order. No division, so that vectors of
 * shifts advance at the speed of a product; powers of two are taken out every eighth row. */

/* One eigenvalue: count(low) <= k < count(high). */
typedef struct {
    int64_t k, n_low, n_high, e_low, e_high;
    double low, high, f_low, f_high; /* ends; the last minors there are f 2^e */
    int64_t moved;                   /* the end that moved last: -1, 1; 0 for none */
    double before;                   /* width three rounds ago */
    int slow;
} bracket;

enum { ROOM = 32 };  /* beyond the shifts: the last group may be filled up */

/* Shifts that a thread takes at a time. */
static int64_t part_of(const tridiagonal *s) { return 16 * s->simd->group; }

static void evaluate_part(const void *job, int64_t part)
{
    const tridiagonal *s = job;
    int64_t size = part_of(s), stop = least((part + 1) * size, s->shifts);
    for (int64_t at = part * size; at < stop; at += s->simd->group) s->simd->minors(s, at, s->counted);
}

static void evaluate(tridiagonal *s, int64_t shifts, const volatile int64_t *cores)
{
    s->shifts = shifts;
    for (int64_t i = shifts; i % s->simd->group; i++) s->x[i] = s->x[shifts - 1];
    share(cores, (shifts + part_of(s) - 1) / part_of(s), evaluate_part, s);
}

/* The next shift inside a bracket of width > 2 tol. While there are several eigenvalues in it, its middle
 * and the share of it that is this one's in turn; then the secant between its ends. */
static double next_shift(const bracket *b, double tol, int64_t round)
{
    double width = b->high - b->low, share_of = (b->k - b->n_low + .5) / (b->n_high - b->n_low);
    if (b->n_high - b->n_low > 1) return b->low + width * (round & 1 ? .5 : share_of);
    if (b->slow || b->f_low == 0 || b->f_high == 0) return b->low + .5 * width;
    int power = (int)fmax(-2000, fmin(2000, (double)(b->e_high - b->e_low)));
    double x = b->low + width / (1 - ldexp(b->f_high / b->f_low, power));
    return fmax(b->low + tol, fmin(b->high - tol, x));
}

/* Illinois: a minor at an end that stays is halved, so that the other end moves soon. Where three rounds
 * did not halve the width, as graded spectra can bring about, the middle is next. */
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
    b->slow = 0;
    if (round % 3 == 0) {
        b->slow = b->high - b->low > .5 * b->before;
        b->before = b->high - b->low;
    }
}

/* Narrow all brackets that hold several eigenvalues, by counts, or then all that hold one, by signs. */
static int refine(tridiagonal *s, bracket *brackets, int64_t *open, double tol, const volatile int64_t *cores)
{
    int64_t active = 0;
    for (int64_t k = 0; k < s->n; k++) open[active++] = k;
    for (int64_t round = 1; round < 400; round++) {
        int64_t kept = 0;
        for (int64_t i = 0; i < active; i++) {
            const bracket *b = brackets + open[i];
            if (b->high - b->low <= 2 * tol || (s->counted && b->n_high - b->n_low == 1)) continue;
            s->x[kept] = next_shift(b, tol, round);
            open[kept++] = open[i];
        }
        if (!kept) return 0;
        active = kept;
        evaluate(s, active, cores);
        for (int64_t i = 0; i < active; i++) {
            bracket *b = brackets + open[i];
            /* Each eigenvalue passed changes the sign of the last minor. */
            int odd = signbit(s->minor[i]) != 0;
            int64_t count = s->counted ? s->count[i] : b->k + (odd != (b->k & 1));
            narrow(b, s->x[i], s->minor[i], s->exponent[i], count, round);
        }
    }
    return NOT_CONVERGED;
}

/* Doubles of work that tridiagonal_eigenvalues takes. */
static int64_t sturm_work(int64_t n) { return (6 + (int64_t)sizeof(bracket) / 8) * (n + ROOM); }

/* Ascending eigenvalues of diagonal d, destroyed, and couplings e below it. */
static int tridiagonal_eigenvalues(int64_t n, double *d, const double *e, const simd *set, double *work,
                                   const volatile int64_t *cores, double *values)
{
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
    int64_t room = n + ROOM, *open = (int64_t *)work;
    tridiagonal s = {.n = n, .d = d, .simd = set, .counted = 1};
    s.e2 = work + room, s.x = s.e2 + room, s.minor = s.x + room;
    s.count = (int64_t *)(s.minor + room), s.exponent = s.count + room;
    bracket *brackets = (bracket *)(s.exponent + room);
    /* To norm 1: the minors of a few rows neither overflow nor underflow. */
    low = low / norm - 1e-15, high = high / norm + 1e-15;
    for (int64_t i = 0; i < n; i++) {
        double coupling = i ? e[i - 1] / norm : 0;
        d[i] /= norm;
        s.e2[i] = i ? fmax(coupling * coupling, 1e-34) : 0;
    }
    for (int64_t i = 0; i < n; i++) s.x[i] = low + (high - low) * (i + .5) / n;
    evaluate(&s, n, cores);
    for (int64_t k = 0, g = 0; k < n; k++) {
        while (g < n && s.count[g] <= k) g++;
        bracket *b = brackets + k;
        *b = (bracket){.k = k, .n_high = n, .low = low, .high = high, .before = INFINITY};
        if (g) b->low = s.x[g - 1], b->f_low = s.minor[g - 1], b->e_low = s.exponent[g - 1], b->n_low = s.count[g - 1];
        if (g < n) b->high = s.x[g], b->f_high = s.minor[g], b->e_high = s.exponent[g], b->n_high = s.count[g];
    }
    /* Of the largest eigenvalue's magnitude, which may be a third of the norm. */
    double tol = DBL_EPSILON * fmax(fabs(brackets[0].low), fabs(brackets[n - 1].high));
    for (; s.counted >= 0; s.counted--)
        if (refine(&s, brackets, open, tol, cores)) return NOT_CONVERGED;
    for (int64_t k = 0; k < n; k++) {
        values[k] = .5 * (brackets[k].low + brackets[k].high) * norm;
        /* Brackets of one cluster may overlap. */
        if (k && values[k] < values[k - 1]) values[k] = values[k - 1];
    }
    return 0;
}
