"""Weights of merges that are known: errors, kinds, refusals, and time at the shape of 7B.

    python benchmarks/merge_weights.py

A base, three fine-tunes of it and three models of other seeds are trained on the pages of this
project's documentation. Merges of them are made by mergekit's definitions and rounded to a type.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import mlx.core as mx
import numpy as np
from _lineage_large import write_pair
from _lineage_pairs import shape_of
from _lineage_training import Corpus, Weights, make_corpus, trained, write
from _results import Cell, out_option, publish
from numpy.typing import NDArray

from mlx_probe.analysis.lineage import Fingerprint, read_fingerprint
from mlx_probe.analysis.lineage.merge_records import MergeWeights
from mlx_probe.analysis.lineage.merge_weights import merge_weights
from mlx_probe.analysis.lineage.slerp import NEARLY_COLLINEAR
from mlx_probe.analysis.lineage.storage_noise import rounded
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.dtypes import FLOAT_FORMATS

ROOT = Path(__file__).parents[1]
TYPES = {"bfloat16": mx.bfloat16, "float16": mx.float16, "float32": mx.float32}
_TUNES, _SEEDS = ("a", "b", "c"), ("x", "y", "z")
_SHARES = (0.5, 0.3, 0.9)
Share = Callable[[str], float]


@dataclass(frozen=True)
class Case:
    """A model whose origin is known.

    Attributes:
        kind: Its row in the table.
        parents: Names of the models that it is asked of.
        model: Its weights.
        methods: Right answers.
        weights: The true weight of each parent, by a tensor's name; None where there is none.
    """

    kind: str
    parents: Sequence[str]
    model: Weights
    methods: Sequence[str]
    weights: Sequence[Share] | None = None


@click.command()
@click.option("--steps", default=120, show_default=True, help="Steps of a base.")
@click.option("--divisor", default=1, show_default=True, help="Divides the sides of the 7B models.")
@out_option
def main(steps: int, divisor: int, out: Path) -> None:
    """Measure merges whose weights are known."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pages = sorted((ROOT / "docs" / "en").glob("*.md"))[:8]
        texts = [path.read_text("utf-8")[:40_000] for path in pages]
        corpus = make_corpus(root / "tokenizer", texts)
        exact = train_all(corpus, steps)
        rows: list[list[Cell]] = []
        for dtype in TYPES:
            rows += judged(root / dtype, corpus, exact, dtype)
        columns = (
            *("stored as", "parents", "merge", "cases", "right method"),
            *("largest error of a weight", "within 3 standard errors, %", "lowest probability"),
        )
        note = (
            "Weights by tensor group where they differ over layers. Parents: three fine-tunes of "
            "one base, or three models of other seeds, all trained for this."
        )
        publish("merge_weights", columns, rows, note, out)
        publish_cost(root / "7b", divisor, out)


def train_all(corpus: Corpus, steps: int) -> dict[str, Weights]:
    """The models by name, float32."""
    config, parts = shape_of(0, corpus), corpus.parts
    base = trained(config, np.concatenate(parts[:4]), 0, steps, 2e-3)
    models: dict[str, Weights] = {"base": base}
    for number, name in enumerate(_TUNES):
        models[name] = trained(
            config, parts[4 + number], 0, steps // 3, 2e-4, begin=base, order=7 + number
        )
    for number, name in enumerate(_SEEDS, start=1):
        models[name] = trained(config, parts[number], number, steps, 2e-3)
    return models


def cases(models: Mapping[str, Weights], names: Sequence[str], layers: int) -> Iterator[Case]:
    """Merges of three models, and what is none of them."""
    a, b, c = (models[name] for name in names)
    either = "linear or slerp"
    for share in _SHARES:
        true = [_same(share), _same(1 - share)]
        yield Case("linear, 2", names[:2], linear([a, b], true), ("linear", either), true)
        yield Case("SLERP, 2", names[:2], slerp(a, b, true[1]), ("slerp", either), true)
    for shares in ((0.5, 0.3, 0.2), (0.2, 0.2, 0.6)):
        true = [_same(share) for share in shares]
        yield Case("linear, 3", names, linear([a, b, c], true), ("linear",), true)

    def over(name: str) -> float:
        parts = name.split(".")
        layer = int(parts[parts.index("layers") + 1]) if "layers" in parts else 0
        return layer / (layers - 1)

    true = [lambda name: 1 - over(name), over]
    yield Case("by layer, 2", names[:2], linear([a, b], true), ("linear", either), true)
    yield Case("by layer, 2", names[:2], slerp(a, b, over), ("slerp", either), true)
    yield Case("none", names[:2], c, ("none",))
    yield Case("none", names[:2], models["base"], ("none",))
    missing = linear([a, b, c], [_same(0.4), _same(0.3), _same(0.3)])
    yield Case("a parent is missing", names[:2], missing, ("unknown", "none"))


def _same(share: float) -> Share:
    return lambda name: share


def linear(models: Sequence[Weights], shares: Sequence[Share]) -> Weights:
    """Mergekit's `linear`, in float64."""
    return {
        name: np.asarray(
            sum(s(name) * m[name].astype(np.float64) for s, m in zip(shares, models, strict=True))
        )
        for name in models[0]
    }


def slerp(a: Weights, b: Weights, share: Share) -> Weights:
    """Mergekit's `slerp`, in float64."""
    merged: dict[str, NDArray[Any]] = {}
    for name, x in a.items():
        u, v, t = x.astype(np.float64), b[name].astype(np.float64), share(name)
        cosine = float(np.vdot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v)))
        angle = np.arccos(np.clip(cosine, -1, 1))
        if abs(cosine) > NEARLY_COLLINEAR:
            merged[name] = (1 - t) * u + t * v
        else:
            merged[name] = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    return merged


def judged(
    root: Path, corpus: Corpus, exact: Mapping[str, Weights], dtype: str
) -> list[list[Cell]]:
    """A row for each kind of merge and of parents."""
    form = FLOAT_FORMATS[{"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[dtype]]
    config = shape_of(0, corpus)

    def stored(weights: Weights) -> Weights:
        return {n: rounded(w.astype(np.float64), form).astype("f4") for n, w in weights.items()}

    def read(name: str, weights: Weights) -> Fingerprint:
        with open_checkpoint(str(write(root / name, config, weights, corpus, dtype))) as opened:
            return read_fingerprint(opened)

    models = {name: stored(weights) for name, weights in exact.items()}
    prints = {name: read(name, weights) for name, weights in models.items()}
    rows = []
    for title, names in (("tunes of one base", _TUNES), ("other seeds", _SEEDS)):
        kinds: dict[str, list[tuple[Case, MergeWeights]]] = {}
        for number, case in enumerate(cases(models, names, config.layers)):
            child = read(f"{names[0]}-{number}", stored(case.model))
            merge = merge_weights(child, [prints[name] for name in case.parents])
            kinds.setdefault(case.kind, []).append((case, merge))
        rows += [_row(dtype, title, kind, found) for kind, found in kinds.items()]
    return rows


def _row(
    dtype: str, title: str, kind: str, found: Sequence[tuple[Case, MergeWeights]]
) -> list[Cell]:
    right = sum(merge.method in case.methods for case, merge in found)
    errors = [pair for case, merge in found for pair in _errors(case, merge)]
    within = [abs(error) <= 3 * said + 1e-6 for error, said in errors]
    is_merge = found[0][0].weights is not None
    return [
        *(dtype, title, kind, len(found), right),
        float(f"{max(abs(error) for error, _ in errors):.2g}") if errors else None,
        round(100 * float(np.mean(within)), 1) if within else None,
        round(min(merge.probability for _, merge in found), 3) if is_merge else None,
    ]


def _errors(case: Case, merge: MergeWeights) -> Iterator[tuple[float, float]]:
    """Of each weight that is told its error, and the standard error that is told with it."""
    if case.weights is None:
        return
    if not merge.parts and not merge.groups:
        yield 1.0, 0.0
    for i, share in enumerate(case.weights):
        if merge.parts:
            yield merge.parts[i].weight - share("model.norm.weight"), merge.parts[i].error
            continue
        for group in merge.groups:
            name = "outside" if group.layer is None else f"model.layers.{group.layer}.w"
            yield group.parts[i].weight - share(name), group.parts[i].error


def publish_cost(root: Path, divisor: int, out: Path) -> None:
    """Time of a merge of two models of the shape of Llama 2 7B."""
    folders = write_pair(root, divisor)[:2]
    start = time.process_time()
    prints = []
    for folder in folders:
        with open_checkpoint(str(folder)) as opened:
            prints.append(read_fingerprint(opened))
    reading = (time.process_time() - start) / 2
    sampled = []
    for x, y in zip(prints[0].sampled, prints[1].sampled, strict=True):
        value = 0.7 * x.values.astype(np.float64) + 0.3 * y.values
        sampled.append(replace(x, values=rounded(value, FLOAT_FORMATS["BF16"]).astype("f4")))
    child = replace(prints[0], model="merged", path="merged", sampled=tuple(sampled))
    start = time.process_time()
    merge = merge_weights(child, prints)
    seconds = time.process_time() - start
    rows: list[list[Cell]] = [
        [
            round(sum(each.values.size for each in sampled) / 1e6, 1),
            round(reading, 2),
            round(seconds, 2),
            merge.method,
            *(float(f"{part.weight:.4f}") for part in merge.parts),
        ]
    ]
    columns = (
        *("elements, millions", "reading one model, CPU s", "weights of two parents, CPU s"),
        *("method", "weight, true .7", "weight, true .3"),
    )
    note = "Models of the shape of Llama 2 7B in bfloat16, sampled rows only; in the page cache."
    publish("merge_weights_cost", columns, rows, note, out)


if __name__ == "__main__":
    main()
