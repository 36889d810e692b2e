"""The evidence in words: each number, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.lineage.records import Evidence

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.elements import ElementNumbers
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.measure import PairNumbers

__all__ = ["evidence_of"]

_KINDS = {"units": "hidden units", "heads": "heads", "channels": "residual channels"}


def evidence_of(a: Fingerprint, b: Fingerprint, numbers: PairNumbers) -> tuple[Evidence, ...]:
    """What was measured, the most telling first.

    Args:
        a: The first model.
        b: The second one.
        numbers: Of `measure_pair`.
    """
    return (
        *_elements(numbers.elements),
        *_columns(numbers),
        *_ranks(numbers),
        *_storage(numbers),
        *_tokens(a, b, numbers),
        *_structure(a, b, numbers),
    )


def _elements(elements: Sequence[ElementNumbers]) -> Iterator[Evidence]:
    if not elements:
        says = "no matrix has the same place and shape in both"
        yield Evidence("weight_correlation", None, says)
        return
    values = [each.correlation for each in elements]
    count = sum(each.count for each in elements)
    yield Evidence(
        "weight_correlation",
        _rounded(_median(values)),
        f"median of {len(values)} matrices, from {min(values):.3f} to {max(values):.3f}, "
        f"of {count} elements; 0 for independent ones",
    )
    yield Evidence(
        "scale_free_correlation",
        _rounded(_median([each.scaled for each in elements])),
        "the same after every input and output channel is brought to one scale",
    )
    yield Evidence(
        "sign_agreement",
        _rounded(_median([each.signs for each in elements])),
        "share of equal signs; 0.5 for independent ones",
    )
    yield Evidence(
        "relative_difference",
        _rounded(_median([each.difference for each in elements])),
        "norm of B - A over the larger one of both, median of the matrices",
    )
    identical = sum(each.identical * each.count for each in elements) / count
    same = sum(each.identical == 1 for each in elements)
    yield Evidence(
        "identical_elements",
        _rounded(identical),
        f"share of equal elements; {same} of {len(elements)} sampled matrices are equal",
    )
    zeros_a, zeros_b = (
        float(np.mean([getattr(each, name) for each in elements]))
        for name in ("zeros_a", "zeros_b")
    )
    if max(zeros_a, zeros_b) > 0.01:
        sizes = [each.zero_size for each in elements if each.zero_size is not None]
        small = (
            f"; what became 0 has {_median(sizes):.2f} times the mean magnitude" if sizes else ""
        )
        yield Evidence(
            "zeros", [_rounded(zeros_a), _rounded(zeros_b)], f"shares of zeros in A and in B{small}"
        )


def _columns(numbers: PairNumbers) -> Iterator[Evidence]:
    for kind, match in numbers.columns.items():
        yield Evidence(
            f"matched_{kind}",
            _rounded(match.cosine),
            f"median cosine of B's {_KINDS[kind]} with the most similar ones of A; "
            f"{match.null:.3f} by chance; {100 * match.moved:.0f} % are at another position",
        )


def _ranks(numbers: PairNumbers) -> Iterator[Evidence]:
    if not numbers.ranks:
        return
    ranks = [rank.rank for rank in numbers.ranks]
    low = sum(rank.is_low for rank in numbers.ranks)
    most = max(rank.full for rank in numbers.ranks)
    yield Evidence(
        "difference_rank",
        [min(ranks), max(ranks)],
        f"ranks of the sampled parts of {len(ranks)} differences above rounding, of at most "
        f"{most}; {low} are low",
    )


def _storage(numbers: PairNumbers) -> Iterator[Evidence]:
    pairs = numbers.matching.matrices
    if not pairs or numbers.coarse_a is None or numbers.coarse_b is None:
        return
    stored = [_usual([getattr(pair, side).stored for pair in pairs]) for side in ("a", "b")]
    yield Evidence(
        "storage",
        stored,
        f"{numbers.coarse_a.bits:.1f} and {numbers.coarse_b.bits:.1f} bits an element; "
        f"{numbers.coarse_a.levels:.0f} and {numbers.coarse_b.levels:.0f} different values among "
        "32 neighbours",
    )


def _tokens(a: Fingerprint, b: Fingerprint, numbers: PairNumbers) -> Iterator[Evidence]:
    for pair, each in zip(numbers.matching.tables, numbers.tables, strict=True):
        name = "output_head" if pair.a.named.block_type == "output" else pair.a.named.block_type
        yield Evidence(
            f"{name}_correlation",
            _rounded(each.correlation),
            f"of {len(pair.x)} rows that both have; A has {pair.a.shape[0]} rows, B has "
            f"{pair.b.shape[0]}",
        )
    if numbers.gram is not None:
        yield Evidence(
            "token_geometry",
            _rounded(numbers.gram),
            "agreement of the inner products of tokens, which no rotation changes; "
            "1 if equal, about 0 for independent tables",
        )
    if a.tokens and b.tokens:
        ours, theirs = set(a.tokens) - {""}, set(b.tokens) - {""}
        placed = sum(x == y for x, y in zip(a.tokens, b.tokens, strict=False))
        yield Evidence(
            "vocabulary",
            _rounded(len(ours & theirs) / max(1, len(ours | theirs))),
            f"share of tokens that both have, of {len(ours | theirs)}; {placed} have one number",
        )


def _structure(a: Fingerprint, b: Fingerprint, numbers: PairNumbers) -> Iterator[Evidence]:
    matching = numbers.matching
    if numbers.vectors_identical is not None:
        yield Evidence(
            "identical_vectors",
            _rounded(numbers.vectors_identical),
            "share of equal elements of norms and biases",
        )
    if a.layers != b.layers or matching.moved:
        moved = sum(i != j for j, i in matching.layer_of.items())
        yield Evidence(
            "layers",
            [a.layers, b.layers],
            f"of A and of B; {moved} layers of B match a layer of another number in A",
        )
    if numbers.shapes_differ:
        first = numbers.shapes_differ[0]
        yield Evidence(
            "shapes",
            len(numbers.shapes_differ),
            f"sampled weights of other shapes: {first.a.named.name} is {_shape(first.a.shape)} in "
            f"A and {_shape(first.b.shape)} in B",
        )
    if matching.only_a or matching.only_b:
        yield Evidence(
            "unmatched",
            [len(matching.only_a), len(matching.only_b)],
            "sampled weights of A and of B without a counterpart",
        )


def _usual(texts: Sequence[str]) -> str:
    return max(sorted(set(texts)), key=texts.count)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
