"""What watching costs: training with snapshots measured in the background, and without.

    python benchmarks/watch.py [--config configs/train/shakespeare.yaml] [--steps 400] [--runs 3]

Trains in turn without snapshots, with snapshots that are measured at the end, and with snapshots
that are measured while training goes on, at a share of 10 %. Times of the steps are those of the
metrics; a whole run is the command from its start to its end, tokenizer and text included.
Exit code 1 if a bit of the weights or the metrics differs, if the steps take more than 3 % longer
by the median of the pairs, or if measuring took more than its share.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
from _processes import PROBE, run
from _results import out_option, publish, rounded

from mlx_probe.core.files import sha256_file
from mlx_probe.runs.training.metrics import TIMES

COLUMNS = (
    "snapshots",
    "steps, s (median)",
    "steps, ratio to the first line (median of pairs; each)",
    "whole run, s (median)",
    "snapshots measured while training / in all",
    "share of the machine, %",
)
CONFIG = Path(__file__).parents[1] / "configs" / "train" / "shakespeare.yaml"
SHARE, SLOWEST = 0.1, 1.03
WAYS = {
    "none": ("per_decade=0", "watch_share=0"),
    "measured at the end": ("watch_share=0",),
    "measured in the background": (f"watch_share={SHARE}",),
}


@dataclass(frozen=True)
class Trained:
    """A training run.

    Attributes:
        steps: Seconds of its steps, evaluations and snapshots.
        whole: Seconds of the command.
        weights: SHA-256 of the final model.
        metrics: Lines of its metrics, without times.
        watch: What its metadata say of the snapshots.
    """

    steps: float
    whole: float
    weights: str
    metrics: str
    watch: dict[str, object]


def train(config: Path, data: str | None, changes: tuple[str, ...], out: Path) -> Trained:
    words = [word for change in changes for word in ("--set", change)]
    source = ["--data", data] if data else []
    used = run([PROBE, "train", "--config", config, *source, *words, "--out", out])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    kept = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    meta = json.loads((out / "run_meta.json").read_text("utf-8"))
    return Trained(
        steps=meta["seconds"]["train"],
        whole=used.seconds,
        weights=sha256_file(out / "model" / "model.safetensors"),
        metrics=json.dumps(kept),
        watch=meta["watch"],
    )


def rounds(
    config: Path, data: str | None, changes: tuple[str, ...], count: int
) -> dict[str, list[Trained]]:
    """Every way in turn, so that what else the machine does meets all of them."""
    done: dict[str, list[Trained]] = {way: [] for way in WAYS}
    for _ in range(count):
        for way, own in WAYS.items():
            with TemporaryDirectory() as folder:
                done[way].append(train(config, data, (*changes, *own), Path(folder) / "run"))
    return done


def measured(trained: Trained) -> str:
    """How many snapshots were measured while training went on, and in all."""
    watch = trained.watch
    every, late = watch["measured"], watch["measured_at_end"]
    assert isinstance(every, list)
    assert isinstance(late, list)
    return f"{len(every) - len(late)} / {len(every)}"


@click.command()
@click.option("--config", type=click.Path(path_type=Path), default=CONFIG, show_default=True)
@click.option("--data", help="Another text than the recipe's.")
@click.option("--steps", default=400, show_default=True)
@click.option("--runs", default=3, show_default=True)
@out_option
def main(config: Path, data: str | None, steps: int, runs: int, out: Path) -> None:
    """Train with and without snapshots, in turn."""
    done = rounds(config, data, (f"train.steps={steps}",), runs)
    everyone = [each for trained in done.values() for each in trained]
    same = len({(each.weights, each.metrics) for each in everyone}) == 1
    rows, slower, most = [], 0.0, 0.0
    for way, trained in done.items():
        pairs = zip(trained, done["none"], strict=True)
        ratios = [one.steps / without.steps for one, without in pairs]
        shares = [float(str(each.watch["share_taken"])) for each in trained]
        slower, most = median(ratios), max(shares)
        rows.append(
            (
                way,
                rounded(median(each.steps for each in trained)),
                f"{median(ratios):.3f}; {', '.join(f'{ratio:.3f}' for ratio in ratios)}",
                rounded(median(each.whole for each in trained)),
                measured(trained[-1]),
                rounded(100 * most),
            )
        )
    note = (
        f"{config.name} with {steps} steps, {runs} rounds. Final weights and metrics without "
        f"times: {'the same bits in all runs' if same else 'NOT THE SAME in all runs'}."
    )
    publish("watch", COLUMNS, rows, note, out)
    # The last way is the one with a limit.
    sys.exit(not same or slower > SLOWEST or most > SHARE)


if __name__ == "__main__":
    main()
