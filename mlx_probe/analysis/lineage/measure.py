"""All numbers of a pair of models, from their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.lineage.elements import ElementNumbers, compare_elements
from mlx_probe.analysis.lineage.hidden import ColumnMatch, gram_agreement, match_columns
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
        seen = [abs(self.correlation), abs(self.scaled)]
        seen += [match.excess for match in self.columns.values()]
        if self.gram is not None:
            seen.append(max(0.0, 2 * self.gram - 1))
        return min(1.0, max(seen))


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
    ranks = tuple(r for r in map(difference_rank, matching.matrices) if r is not None)
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
        all_identical=identical and not lacking and not shapes and bool(matching.pairs),
    )


def _columns(matching: Matching, elements: Sequence[ElementNumbers]) -> dict[str, ColumnMatch]:
    """Matches of columns, where the positions do not agree already."""
    direct = {id(p): n.correlation for p, n in zip(matching.matrices, elements, strict=True)}
    wanted: dict[str, list[Matched]] = {}
    for pair in matching.pairs:
        kind = _UNITS.get(pair.a.named.block_type)
        if pair.a.is_token_table and "embedding" in pair.a.named.block_type:
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
    return match_columns(a.values[i], b.values[j])


def _gram(matching: Matching) -> float | None:
    for pair in matching.pairs:
        if pair.a.is_token_table and "embedding" in pair.a.named.block_type:
            _, i, j = np.intersect1d(
                pair.a.rows, pair.b.rows, assume_unique=True, return_indices=True
            )
            if len(i) >= 16:
                return gram_agreement(pair.a.values[i], pair.b.values[j])
    return None


def _coarse(sampled: Sequence[Sampled]) -> Coarseness | None:
    """The storage that half of the matrices have at most."""
    known = sorted((coarseness(each) for each in sampled), key=lambda c: (c.bits, c.levels))
    return known[len(known) // 2] if known else None


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
