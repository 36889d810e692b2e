"""How evenly the energy is spread over the directions."""

from __future__ import annotations

import math

import numpy as np

from mlx_probe.core.column_texts import HERE, MEASURED, OF_SHORT_SIDE, TEXTBOOK
from mlx_probe.core.records import Sketch
from mlx_probe.metrics.measurement import Measurement, Metric
from mlx_probe.metrics.spectrum.values import energy_shares, entropy, shares_of

__all__ = ["EVENNESS"]


def stable_rank(m: Measurement) -> float | None:
    """Sum of lambda over lambda_1."""
    shares = energy_shares(m)
    return None if shares is None else float(1.0 / shares[0])


def effective_rank(m: Measurement) -> float | None:
    """exp(-sum p ln p), p = sigma / sum sigma (Roy and Vetterli 2007)."""
    if isinstance(m.spectrum, Sketch):
        return m.spectrum.effective_rank.value
    shares = shares_of(m, 1)
    return None if shares is None else math.exp(entropy(shares))


def effective_rank_error(m: Measurement) -> float | None:
    """Half-width of effective_rank's 95 % confidence interval; null where it is exact."""
    return m.spectrum.effective_rank.half_width if isinstance(m.spectrum, Sketch) else None


def spectral_entropy(m: Measurement) -> float | None:
    """-sum p ln p / ln M, p = lambda / sum lambda; undefined for M = 1."""
    if isinstance(m.spectrum, Sketch):
        return m.spectrum.spectral_entropy.value if m.spectrum.spectral_entropy else None
    shares = shares_of(m, 2)
    if shares is None or len(shares) == 1:
        return None
    return entropy(shares) / math.log(len(shares))


def spectral_entropy_error(m: Measurement) -> float | None:
    """Half-width of spectral_entropy's 95 % confidence interval; null where it is exact."""
    sketched = isinstance(m.spectrum, Sketch) and m.spectrum.spectral_entropy
    return sketched.half_width if sketched else None


def participation_ratio(m: Measurement) -> float | None:
    """(sum lambda)^2 / sum lambda^2."""
    shares = shares_of(m, 2)
    return None if shares is None else float(1.0 / np.dot(shares, shares))


def _energy_rank(m: Measurement, share: float) -> int | None:
    if isinstance(m.spectrum, Sketch):
        return _sketched_energy_rank(m, m.spectrum, share)
    shares = shares_of(m, 2)
    if shares is None:
        return None
    # A share of the last running sum: with any other sum, rounding could ask for more than all.
    energy = m.once("running energy", lambda: np.cumsum(shares))
    return int(np.searchsorted(energy, share * energy[-1])) + 1


def _sketched_energy_rank(m: Measurement, sketch: Sketch, share: float) -> int | None:
    """The same, if the leading values give one answer wherever they lie within their error."""
    off = sketch.error * sketch.leading[0]
    ranks = []
    for sigma in (np.maximum(sketch.leading - off, 0.0), sketch.leading + off):
        energy = np.cumsum(sigma**2) / m.moments.sum_of_squares
        ranks.append(int(np.searchsorted(energy, share)) + 1)
    return ranks[0] if ranks[0] == ranks[1] <= len(sketch.leading) else None


def energy_rank_90(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 90 % of their sum."""
    return _energy_rank(m, 0.90)


def energy_rank_95(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 95 % of their sum."""
    return _energy_rank(m, 0.95)


def energy_rank_99(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 99 % of their sum."""
    return _energy_rank(m, 0.99)


def top1_energy(m: Measurement) -> float | None:
    """Share of lambda_1 in the sum of lambda."""
    shares = energy_shares(m)
    return None if shares is None else min(float(shares[0]), 1.0)


def top10_energy(m: Measurement) -> float | None:
    """Share of the ten largest lambda in their sum."""
    shares = energy_shares(m)
    if shares is None or (isinstance(m.spectrum, Sketch) and len(shares) < 10):
        return None
    return min(float(shares[:10].sum()), 1.0)


EVENNESS: tuple[Metric, ...] = (
    Metric(
        stable_rank,
        lower=1,
        title="Stable rank",
        plain="How many directions as strong as the strongest one would hold all the energy of "
        "the matrix.",
        typical=OF_SHORT_SIDE,
        caveat="One strong direction lowers it even if all others are perfectly even, and it "
        "depends on the shape.",
        source="Rudelson and Vershynin 2007",
        formula="sum lambda / lambda_1",
    ),
    Metric(
        effective_rank,
        lower=0.999999,
        title="Effective rank",
        plain="How many directions the matrix uses, weak ones counting less than strong ones.",
        typical=OF_SHORT_SIDE,
        caveat="Noise has a high one, a wide matrix a higher one than a square one, and some "
        "tools define it with lambda.",
        source="Roy and Vetterli 2007",
        formula="exp(-sum p ln p), p = sigma / sum sigma",
    ),
    Metric(
        effective_rank_error,
        lower=0,
        title="Effective rank, error",
        plain="How far an estimated effective rank can lie from the true one, with 95 % "
        "confidence.",
        typical="Null where the spectrum is exact; with `--spectrum approx`: {measured}.",
        caveat="It covers the chance of the random probes only, and one interval in twenty misses.",
        source=HERE,
    ),
    Metric(
        spectral_entropy,
        lower=0,
        upper=1.000001,
        title="Spectral entropy",
        plain="How evenly the energy is spread over the directions: 0 for one direction, 1 for "
        "all alike.",
        typical=MEASURED,
        caveat="Most matrices lie close to 1: differences in the second decimal are already large.",
        source="Alter, Brown and Botstein 2000 (normalized entropy of an SVD)",
        formula="-sum p ln p / ln M, p = lambda / sum lambda",
    ),
    Metric(
        spectral_entropy_error,
        lower=0,
        title="Spectral entropy, error",
        plain="How far an estimated spectral entropy can lie from the true one, with 95 % "
        "confidence.",
        typical="Null where the spectrum is exact; with `--spectrum approx`: {measured}.",
        caveat="It covers the chance of the random probes only, and one interval in twenty misses.",
        source=HERE,
    ),
    Metric(
        participation_ratio,
        lower=0.999999,
        title="Participation ratio",
        plain="How many equally strong directions would concentrate the energy as much as this "
        "matrix does.",
        typical=OF_SHORT_SIDE,
        caveat="A few strong directions decide it: two matrices may agree here and differ in all "
        "weak directions.",
        source=TEXTBOOK,
        formula="(sum lambda)^2 / sum lambda^2",
    ),
    Metric(
        energy_rank_90,
        type="int64",
        lower=1,
        title="90 % energy rank",
        plain="How many of the strongest directions hold 90 % of the energy.",
        typical=OF_SHORT_SIDE,
        caveat="Energy of the weights is not influence on the answers: weak directions can matter "
        "for rare inputs.",
        source=HERE,
        formula="min k with lambda_1 + ... + lambda_k >= 0.90 sum lambda",
    ),
    Metric(
        energy_rank_95,
        type="int64",
        lower=1,
        title="95 % energy rank",
        plain="How many of the strongest directions hold 95 % of the energy.",
        typical=OF_SHORT_SIDE,
        caveat="Energy of the weights is not influence on the answers: weak directions can matter "
        "for rare inputs.",
        source=HERE,
        formula="min k with lambda_1 + ... + lambda_k >= 0.95 sum lambda",
    ),
    Metric(
        energy_rank_99,
        type="int64",
        lower=1,
        title="99 % energy rank",
        plain="How many of the strongest directions hold 99 % of the energy.",
        typical=OF_SHORT_SIDE,
        caveat="A truncation to it still changes the weights by a tenth of their norm (the root "
        "of 1 %).",
        source=HERE,
        formula="min k with lambda_1 + ... + lambda_k >= 0.99 sum lambda",
    ),
    Metric(
        top1_energy,
        lower=0,
        upper=1,
        title="Energy of the first direction",
        plain="The share of the energy that the strongest direction holds alone.",
        typical=MEASURED,
        caveat="Small matrices have larger shares for no other reason than their size.",
        source=HERE,
        formula="lambda_1 / sum lambda",
    ),
    Metric(
        top10_energy,
        lower=0,
        upper=1,
        title="Energy of ten directions",
        plain="The share of the energy that the ten strongest directions hold together.",
        typical=MEASURED,
        caveat="Ten directions are many for a small matrix and few for a large one.",
        source=HERE,
        formula="(lambda_1 + ... + lambda_10) / sum lambda",
    ),
)
