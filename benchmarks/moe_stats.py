"""Time and memory of the statistics of a large mixture, and whether what is planted is found.

    python benchmarks/moe_stats.py [--layers 64] [--experts 128] [--hidden 1024] [--width 256]
                                   [--filled 2]

Writes a qwen3_moe of that shape in bfloat16 as a sparse file. The first ``--filled`` layers have
random numbers, in which two copies with their hidden units in another order, one mean of two
others and one expert without a norm are planted; all others are a hole in the file, so that every
expert of theirs is dead. `mlx-probe moe stats` runs in a process of its own.

Exit code 1 where it takes 1 GB or more, or finds anything else than what is planted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import click
import numpy as np
from _processes import PROBE, run
from _results import out_option, publish, rounded
from numpy.typing import NDArray

MOST_MEMORY = 1000.0
COLUMNS = (
    *("layers", "experts", "expert", "GB", "layers with numbers", "planted", "found"),
    *("false", "seconds", "peak MB"),
)
KINDS = ("gate_proj", "up_proj", "down_proj")
Expert = dict[str, NDArray[Any]]


def bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Words of numbers, rounded to the nearest."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def planted_layer(random: np.random.Generator, experts: int, width: int, dim: int) -> list[Expert]:
    """Random experts (width, dim) by kind, of which some are made of others."""
    layer = [
        {kind: random.standard_normal((width, dim), np.float32) for kind in KINDS}
        for _ in range(experts)
    ]

    def reordered(expert: Expert) -> Expert:
        order = random.permutation(width)
        return {kind: units[order] for kind, units in expert.items()}

    half = experts // 2
    layer[half] = reordered(layer[0])
    layer[half + 1] = reordered(layer[1])
    other = reordered(layer[3])
    layer[half + 2] = reordered({kind: (layer[2][kind] + other[kind]) / 2 for kind in KINDS})
    layer[half + 3] = {kind: np.zeros_like(units) for kind, units in layer[4].items()}
    return layer


def write_sparse(
    folder: Path, layers: int, experts: int, dim: int, width: int, filled: int
) -> tuple[int, int]:
    """Write the mixture.

    Returns:
        Bytes of the file, and how many experts are planted.
    """
    header: dict[str, object] = {}
    places: dict[str, int] = {}
    end = 0
    for layer in range(layers):
        block = f"model.layers.{layer}.mlp"
        shapes: dict[str, tuple[int, ...]] = {f"{block}.gate.weight": (experts, dim)}
        for expert in range(experts):
            for kind in KINDS:
                shape = (dim, width) if kind == "down_proj" else (width, dim)
                shapes[f"{block}.experts.{expert}.{kind}.weight"] = shape
        for name, shape in shapes.items():
            places[name], end = end, end + 2 * prod(shape)
            place = {"dtype": "BF16", "shape": shape, "data_offsets": [places[name], end]}
            header[name] = place
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for layer in range(filled):
            block = f"model.layers.{layer}.mlp"
            for number, expert in enumerate(planted_layer(random, experts, width, dim)):
                for kind, units in expert.items():
                    matrix = units.T if kind == "down_proj" else units
                    file.seek(8 + len(text) + places[f"{block}.experts.{number}.{kind}.weight"])
                    file.write(bfloat16(matrix).tobytes())
            file.seek(8 + len(text) + places[f"{block}.gate.weight"])
            file.write(bfloat16(random.standard_normal((experts, dim))).tobytes())
        file.truncate(8 + len(text) + end)
    config = {
        "model_type": "qwen3_moe", "hidden_size": dim, "moe_intermediate_size": width,
        "num_hidden_layers": layers, "num_experts": experts, "num_experts_per_tok": 8,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return end, 4 * filled


def judged(meta: dict[str, Any], experts: int, filled: int) -> tuple[int, int]:
    """How many of the planted experts are found, and how many others are."""
    half = experts // 2
    expected = {
        "copies": {(layer, half + i, i) for layer in range(filled) for i in (0, 1)},
        "merged": {(layer, half + 2, 2, 3) for layer in range(filled)},
        "dead": {(layer, half + 3) for layer in range(filled)},
        "preferred": set(),
    }
    names = {"copies": ("of",), "merged": ("first", "second"), "dead": (), "preferred": ()}
    found = false = 0
    for name, wanted in expected.items():
        met = {
            (each["layer"], each["expert"], *(each[key] for key in names[name]))
            for each in meta["found"][name]
            if each["layer"] < filled
        }
        found += len(met & wanted)
        false += len(met - wanted)
    return found, false


@click.command()
@click.option("--layers", default=64, show_default=True, type=click.IntRange(1))
@click.option("--experts", default=128, show_default=True, type=click.IntRange(10))
@click.option("--hidden", default=1024, show_default=True, type=click.IntRange(8))
@click.option("--width", default=256, show_default=True, type=click.IntRange(8))
@click.option("--filled", default=2, show_default=True, type=click.IntRange(1))
@out_option
def main(layers: int, experts: int, hidden: int, width: int, filled: int, out: Path) -> None:
    """Describe a large mixture in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        model, folder = Path(scratch) / "mixture", Path(scratch) / "stats"
        size, planted = write_sparse(model, layers, experts, hidden, width, filled)
        used = run([PROBE, "moe", "stats", model, "--out", folder, "--memory-limit", "900MB"])
        meta = json.loads((folder / "experts.run_meta.json").read_text("utf-8"))
    rows = sum(meta["rows_by_status"].values())
    found, false = judged(meta, experts, filled)
    shape = f"3 of {width} x {hidden}"
    row = (
        *(layers, experts, shape, rounded(size / 1e9), filled, planted, found, false),
        *(rounded(used.seconds), rounded(used.peak)),
    )
    note = (
        "bfloat16, sparse file; --memory-limit 900MB. Peak: resident memory of the process. "
        "Planted: copies with hidden units in another order, means of two experts, experts of zeros"
    )
    publish("moe_stats", COLUMNS, [row], f"{note}.", out)
    right = rows == layers * experts and found == planted and not false
    sys.exit(not right or used.peak >= MOST_MEMORY)


if __name__ == "__main__":
    main()
