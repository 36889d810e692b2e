"""All numbers of a pair of models, from their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.lineage.elements import ElementNumbers, compare_elements
from mlx_probe.analysis.lineage.hidden import (
    ColumnMatch,
    gram_agreement,
    match_columns,
    without_common,
)
from mlx_probe.analysis.lineage.low_rank import RankNumbers, difference_rank
from mlx_probe.analysis.lineage.matched import Matched, Matching, align
from mlx_probe.analysis.lineage.storage import Coarseness, coarseness

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint, Sampled

__all__ = ["PairNumbers", "measure_pair"]

# Matrices whose columns are channels that may be permuted, by what their columns are.
_UNITS = {"down_proj": "units", "o_proj": "heads"}
# Columns are looked for in so many layers.
_LAYERS = 3
# A correlation from which on positions are taken to agree: nothing has been permuted there.
_DIRECT = 0.5
# Rows and columns of a part whose rank is looked at, where so many are sampled of any matrix.
_DEEP = 96
# Tokens that both have, from which on the geometry of embeddings says something.
_LEAST_TOKENS = 64
# Agreement of the geometry of tokens from which on it counts: a language has a geometry, too.
_GEOMETRY = 0.8


@dataclass(frozen=True)
class PairNumbers:
    """What was measured of two models.

    Attributes:
        matching: What belongs together.
        elements: Numbers of each of `Matching.matrices`, in order.
        vectors_identical: Share of equal elements of norms and biases; None without any.
        tables: Numbers of embeddings and output heads.
        columns: Matches of columns: "units", "heads", "channels"; where they were looked for.
        gram: Agreement of the inner products of tokens; None without an embedding.
        ranks: Ranks of the differences of matrices, where they can be measured.
        coarse_a: Storage of A's matrices.
        coarse_b: Storage of B's.
        shapes_differ: Matched weights of different shape.
        stacked: Whether the deeper model has layers of the other one twice or more.
        all_identical: Whether everything sampled is equal, and nothing lacks a counterpart.
    """

    matching: Matching
    elements: tuple[ElementNumbers, ...]
    vectors_identical: float | None
    tables: tuple[ElementNumbers, ...]
    columns: dict[str, ColumnMatch]
    gram: float | None
    ranks: tuple[RankNumbers, ...]
    coarse_a: Coarseness | None
    coarse_b: Coarseness | None
    shapes_differ: tuple[Matched, ...]
    stacked: bool
    all_identical: bool

    @property
    def correlation(self) -> float:
        """Median correlation of the matrices; 0 without any."""
        return _median([each.correlation for each in self.elements])

    @property
    def scaled(self) -> float:
        """Median correlation after channels are brought to one scale."""
        return _median([each.scaled for each in self.elements])

    @property
    def similarity(self) -> float:
        """The best sign of kinship, from 0 to 1: what the probability is computed from."""
        count = sum(each.count for each in self.elements)
        # Three standard errors of the median of independent elements.
        noise = 3 * 1.25 / max(1, count) ** 0.5
        seen = [abs(self.correlation) - noise, abs(self.scaled) - noise, 0.0]
        seen += [match.excess for match in self.columns.values()]
        if self.gram is not None:
            seen.append((self.gram - _GEOMETRY) / (1 - _GEOMETRY))
        return float(min(1.0, max(seen)))


def measure_pair(a: Fingerprint, b: Fingerprint) -> PairNumbers:
    """Measure how two models differ.

    Args:
        a: The first.
        b: The second, sampled with the same settings.
    """
    matching = align(a, b)
    elements = tuple(map(compare_elements, matching.matrices))
    tables = tuple(map(compare_elements, matching.tables))
    vectors = [p for p in matching.pairs if p.comparable and not p.a.is_matrix]
    equal = [(float((p.x == p.y).sum()), p.x.size) for p in vectors]
    ranks = tuple(r for r in map(difference_rank, _deepest(matching)) if r is not None)
    lacking = matching.only_a or matching.only_b
    shapes = tuple(p for p in matching.pairs if not p.same_shape)
    identical = all(np.array_equal(p.x, p.y) for p in matching.pairs if p.comparable)
    return PairNumbers(
        matching=matching,
        elements=elements,
        vectors_identical=sum(n for n, _ in equal) / sum(n for _, n in equal) if equal else None,
        tables=tables,
        columns=_columns(matching, elements),
        gram=_gram(matching),
        ranks=ranks,
        coarse_a=_coarse([p.a for p in matching.matrices]),
        coarse_b=_coarse([p.b for p in matching.matrices]),
        shapes_differ=shapes,
        stacked=bool(matching.doubled if a.layers <= b.layers else align(b, a).doubled),
        all_identical=identical
        and not (lacking or shapes or matching.moved)
        and a.layers == b.layers
        and bool(matching.pairs),
    )


def _deepest(matching: Matching) -> list[Matched]:
    """The matrices of which most is sampled: a part of few rows has a low rank anyway."""
    extents = {id(pair): min(pair.x.shape) for pair in matching.matrices}
    enough = min(_DEEP, max(extents.values(), default=0))
    return [pair for pair in matching.matrices if extents[id(pair)] >= enough]


def _columns(matching: Matching, elements: Sequence[ElementNumbers]) -> dict[str, ColumnMatch]:
    """Matches of columns, where the positions do not agree already."""
    direct = {id(p): n.correlation for p, n in zip(matching.matrices, elements, strict=True)}
    wanted: dict[str, list[Matched]] = {}
    for pair in matching.pairs:
        kind = _UNITS.get(pair.a.named.block_type)
        if pair.a.named.block_type == "embedding":
            kind = "channels"
        if kind is None or not pair.a.is_matrix or not pair.b.is_matrix:
            continue
        if direct.get(id(pair), 0.0) < _DIRECT:
            wanted.setdefault(kind, []).append(pair)
    found = {}
    for kind, pairs in wanted.items():
        # Most rows first: they tell columns apart best.
        pairs.sort(key=lambda p: -len(p.a.rows))
        matches = [m for m in (_match(p) for p in pairs[:_LAYERS]) if m is not None]
        if matches:
            found[kind] = sorted(matches, key=lambda m: m.excess)[len(matches) // 2]
    return found


def _match(pair: Matched) -> ColumnMatch | None:
    a, b = pair.a, pair.b
    _, i, j = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    x, y = a.values[i], b.values[j]
    if a.is_token_table and len(x) >= _LEAST_TOKENS:
        x, y = without_common(x, y)
    one, other = match_columns(x, y), match_columns(y, x)
    if one is None or other is None or x.shape[1] > y.shape[1]:
        return one
    # The columns of the smaller one are among those of the larger one, not the reverse.
    return min(one, other, key=lambda match: match.excess) if x.shape == y.shape else other


def _gram(matching: Matching) -> float | None:
    for pair in matching.pairs:
        if pair.a.named.block_type == "embedding":
            _, i, j = np.intersect1d(
                pair.a.rows, pair.b.rows, assume_unique=True, return_indices=True
            )
            if len(i) >= _LEAST_TOKENS:
                return gram_agreement(*without_common(pair.a.values[i], pair.b.values[j]))
    return None


def _coarse(sampled: Sequence[Sampled]) -> Coarseness | None:
    """The storage that half of the matrices have at most."""
    known = sorted((coarseness(each) for each in sampled), key=lambda c: (c.bits, c.levels))
    return known[len(known) // 2] if known else None


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
