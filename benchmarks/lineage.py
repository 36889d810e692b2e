"""Lineage of models whose relations are known: AUC, wrong names, calibration, time and bytes.

    python benchmarks/lineage.py --fit      # probabilities from families of other seeds, first
    python benchmarks/lineage.py

Families of tiny models are trained on the pages of this project's documentation: a base, its
fine-tunes and LoRA adapters, and what quantization, pruning, merging and permutation make of it.
The probabilities are fitted on families of seeds 0 and on, and measured on families of seeds 100
and on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np
from _lineage_large import ranged_server, write_pair
from _lineage_pairs import Family, Pair, make_family, unrelated_pairs
from _lineage_training import make_corpus
from _processes import PROBE, Used, run
from _results import Cell, out_option, publish
from numpy.typing import NDArray

import mlx_probe.analysis.lineage as package
from mlx_probe.analysis.lineage import Fingerprint, Relation, read_fingerprint, relate
from mlx_probe.analysis.lineage.calibration import similarity_logit
from mlx_probe.analysis.opening import open_checkpoint

ROOT = Path(__file__).parents[1]
_FITTED, _TESTED = 0, 100
# Weight of the prior on the slope: classes that do not overlap would make it infinite.
_RIDGE = 0.05


@dataclass(frozen=True)
class Named:
    """A pair, and what was said of it."""

    pair: Pair
    relation: Relation

    @property
    def kind(self) -> str:
        """Its row in the table."""
        return self.pair.kind if self.is_related else "unrelated, same shape"

    @property
    def is_related(self) -> bool:
        """Whether they truly are."""
        return self.pair.relation != "unrelated"

    @property
    def similarity(self) -> float:
        """What the probability is computed from."""
        return self.relation.numbers["similarity"]

    @property
    def is_right(self) -> bool:
        """Whether the relation is the true one."""
        return self.relation.relation == self.pair.relation


@click.command()
@click.option("--families", default=6, show_default=True, help="Families of each set.")
@click.option("--steps", default=120, show_default=True, help="Steps of a base.")
@click.option("--fit", is_flag=True, help="Fit calibration.json in the package, and end.")
@click.option("--divisor", default=1, show_default=True, help="Divides the sides of the 7B pair.")
@click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder that keeps the models; families that are there are not trained again.",
)
@click.option("--only", type=click.Choice(["pairs", "cost"]), help="One part alone.")
@out_option
def main(
    families: int,
    steps: int,
    fit: bool,
    divisor: int,
    kept: Path | None,
    only: str | None,
    out: Path,
) -> None:
    """Measure lineage on generated pairs."""
    with tempfile.TemporaryDirectory() as folder:
        root = kept or Path(folder)
        if only == "cost":
            publish_cost(Path(folder) / "7b", divisor, out)
            return
        seeds = range(_FITTED, _FITTED + families) if fit else range(_TESTED, _TESTED + families)
        named = judge(made(root, Path(folder), seeds, steps))
        if fit:
            write_calibration(named, steps, families)
            return
        publish_pairs(named, out)
        if only is None:
            publish_cost(Path(folder) / "7b", divisor, out)
    if auc(named) < 0.99 or any(not n.is_related and n.relation.related >= 0.5 for n in named):
        sys.exit(1)


def made(root: Path, scratch: Path, seeds: Sequence[int], steps: int) -> list[Family]:
    """Train the families, each in a folder of its own, or take those that are there."""
    pages = sorted((ROOT / "docs" / "en").glob("*.md"))[:8]
    texts = [path.read_text("utf-8")[:40_000] for path in pages]
    corpus = make_corpus(scratch / "tokenizer", texts)
    return [make_family(root / f"family-{seed}", corpus, seed, steps) for seed in seeds]


def judge(families: list[Family]) -> list[Named]:
    """Name the relation of every pair; each model is read once."""
    prints: dict[Path, Fingerprint] = {}

    def of(path: Path) -> Fingerprint:
        if path not in prints:
            with open_checkpoint(str(path)) as checkpoint:
                prints[path] = read_fingerprint(checkpoint)
        return prints[path]

    pairs = [*chain.from_iterable(f.pairs for f in families), *unrelated_pairs(families)]
    return [Named(pair, relate(of(pair.a), of(pair.b))) for pair in pairs]


def auc(named: Sequence[Named]) -> float:
    """Chance that a related pair has a higher similarity than an unrelated one."""
    related = np.array([n.similarity for n in named if n.is_related])
    others = np.array([n.similarity for n in named if not n.is_related])
    if not len(others) or not len(related):
        return 1.0
    above = (related[:, None] > others).mean() + 0.5 * (related[:, None] == others).mean()
    return float(above)


def write_calibration(named: Sequence[Named], steps: int, families: int) -> None:
    """Fit the logistic curve and count what each rule names rightly."""
    x = np.array([similarity_logit(n.similarity) for n in named])
    y = np.array([n.is_related for n in named], float)
    slope, intercept = logistic(x, y)
    rules: dict[str, Counter[bool]] = defaultdict(Counter)
    for n in named:
        if n.is_related and n.relation.rule:
            rules[n.relation.rule][n.is_right] += 1
    fitted = {
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "related": int(y.sum()),
        "unrelated": int((1 - y).sum()),
        "rules": {
            name: {"named": sum(counts.values()), "right": counts[True]}
            for name, counts in sorted(rules.items())
        },
        "provenance": {
            "script": "benchmarks/lineage.py --fit",
            "families": families,
            "seeds": f"{_FITTED} to {_FITTED + families - 1}",
            "steps": steps,
        },
    }
    path = Path(package.__file__).with_name("calibration.json")
    path.write_text(json.dumps(fitted, indent=1) + "\n", "utf-8")
    print(f"{path}: {fitted}")


def logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept by Newton's method, both classes with the same weight."""
    weight = np.where(y == 1, 0.5 / max(1.0, y.sum()), 0.5 / max(1.0, (1 - y).sum())) * len(y)
    design, beta = np.stack([x, np.ones_like(x)], axis=1), np.zeros(2)
    prior = np.diag([_RIDGE, 0.0]) * len(y) / 100
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weight * (y - p)) - prior @ beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + prior
        beta += np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
    return float(beta[0]), float(beta[1])


def publish_pairs(named: Sequence[Named], out: Path) -> None:
    """The table by kind of pair, the table of names, and the calibration."""
    rows: list[list[Cell]] = []
    kinds = dict.fromkeys(n.pair.kind if n.is_related else "unrelated, same shape" for n in named)
    for kind in kinds:
        of = [
            n for n in named if (n.pair.kind if n.is_related else "unrelated, same shape") == kind
        ]
        parents = [n for n in of if n.relation.parent is not None]
        rows.append(
            [
                kind,
                of[0].pair.relation,
                len(of),
                sum(n.relation.related >= 0.5 for n in of),
                sum(n.is_right for n in of),
                sum(n.relation.parent == n.pair.parent for n in parents) if parents else None,
                round(min(n.similarity for n in of), 3),
                round(max(n.similarity for n in of), 3),
            ]
        )
    columns = (
        *("pair", "true relation", "pairs", "called related", "relation right", "parent right"),
        *("lowest similarity", "highest similarity"),
    )
    related = sum(n.is_related for n in named)
    note = (
        f"{related} related and {len(named) - related} unrelated pairs of tiny models, trained "
        f"for this; none of their seeds was used for the fit. Area under the curve of related "
        f"against unrelated: {auc(named):.4f}. The parent is empty where none is told."
    )
    publish("lineage", columns, rows, note, out)
    publish("lineage_calibration", *calibration_table(named), out)


def calibration_table(
    named: Sequence[Named],
) -> tuple[Sequence[str], list[list[Cell]], str]:
    """How often what was said with a probability is true."""
    rows: list[list[Cell]] = []
    for title, said, true in (
        (
            "related at all",
            np.array([n.relation.related for n in named]),
            np.array([n.is_related for n in named], float),
        ),
        (
            "the relation that is named",
            np.array([n.relation.probability for n in named]),
            np.array([n.is_right for n in named], float),
        ),
    ):
        brier = float(((said - true) ** 2).mean())
        bins = np.minimum((said * 10).astype(int), 9)
        error = sum(
            abs(said[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean()
            for b in np.unique(bins)
        )
        rows.append(
            [title, len(said), round(float(said.mean()), 4), round(float(true.mean()), 4),
             round(brier, 4), round(float(error), 4)]
        )  # fmt: skip
    columns = ("probability of", "pairs", "mean said", "share true", "Brier score", "ECE, 10 bins")
    note = "Related pairs and unrelated ones count alike, as they are in the first table."
    return columns, rows, note


def publish_cost(root: Path, divisor: int, out: Path) -> None:
    """Time, memory and bytes of a pair of the shape of Llama 2 7B."""
    a, b, written = write_pair(root, divisor)
    size = (a / "model.safetensors").stat().st_size
    used, said = _asked([a, b])
    rows: list[list[Cell]] = [_row("local, by ranges", used, said, size, None)]
    with ranged_server(root) as (address, sent):
        urls = [f"{address}/{folder.name}/model.safetensors" for folder in (a, b)]
        used, said = _asked(["--remote", *urls], sent)
        rows.append(_row("remote, loopback server", used, said, size, sent))
    columns = (
        *("way", "size of each, GB", "read of each, MB", "over the network, MB", "requests"),
        *("seconds", "peak memory, MB", "relation"),
    )
    note = (
        "A base and its fine-tune of the shape of Llama 2 7B in bfloat16, as sparse files: the "
        f"sampled rows ({written / 1e6:.0f} MB of each) hold random numbers, the rest are holes. "
        "The rows were in the page cache."
    )
    publish("lineage_cost", columns, rows, note, out)


def _asked(words: Sequence[object], sent: list[int] | None = None) -> tuple[Used, dict[str, Any]]:
    """The command's document, and then what a process of it takes."""
    done = subprocess.run(
        [PROBE, "lineage", *map(str, words), "--json"], capture_output=True, text=True, check=True
    )
    if sent is not None:
        sent.clear()
    return run([PROBE, "lineage", *words]), json.loads(done.stdout)


def _row(
    way: str, used: Used, said: dict[str, Any], size: int, sent: list[int] | None
) -> list[Cell]:
    return [
        way,
        round(size / 1e9, 2),
        round(said["sample"]["read_bytes"][0] / 1e6, 1),
        None if sent is None else round(sum(sent) / 1e6, 1),
        None if sent is None else len(sent),
        round(used.seconds, 2),
        round(used.peak),
        said["relation"],
    ]


if __name__ == "__main__":
    main()
