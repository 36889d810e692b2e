"""How long the table of experts takes for DeepSeek-V3 (671B): 58 layers of 256 routed experts.

Writes two small mixtures to a temporary folder, in DeepSeek's packing (8-bit floats with a scale
for each 128 x 128 block): one layer of as many experts, whose sides are divided by `--scale`, and
two experts whose sides are divided by `--whole-scale`, by default of full size. It measures the
processor time of one worker, and multiplies by the elements, experts and groups of the model.

After measuring it compares cosines and overlaps with their definitions in float64. Exit code 1 if
they are off.

    python benchmarks/experts.py [--experts 256] [--scale 8] [--runs 3]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import numpy as np
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.analysis.side_tables.elements import read_into
from mlx_probe.analysis.side_tables.experts.flattened import flattened_gram, least_bytes
from mlx_probe.analysis.side_tables.experts.groups import Group, expert_groups
from mlx_probe.analysis.side_tables.experts.similarity import Similarity, cosines
from mlx_probe.analysis.side_tables.experts.subspaces import (
    SUBSPACE,
    expert_bytes,
    overlaps_of,
    subspace_overlaps,
)
from mlx_probe.compute.backends import BACKENDS

HIDDEN, WIDTH, BLOCK = 7168, 2048, 128
LAYERS, ROUTED, KINDS = 58, 256, 3
BUDGET = 4 << 30
PREFIX = "model.layers.3.mlp.experts"
COLUMNS = ("work", "measured on", "CPU s each", "in the model", "core hours")
BACKEND = BACKENDS["numpy"]("cpu")


def write_model(folder: Path, experts: int, scale: int, kinds: Sequence[str]) -> Path:
    """Experts as DeepSeek-V3 stores them; rows of a tile are alike in all experts."""
    rng = np.random.default_rng(0)
    hidden, width = HIDDEN // scale, WIDTH // scale
    header: dict[str, object] = {}
    position, parts = 0, []
    for expert in range(experts):
        for kind in kinds:
            shape = (hidden, width) if kind == "down_proj" else (width, hidden)
            grid = (-(-shape[0] // BLOCK), -(-shape[1] // BLOCK))
            # Finite codes about as large as each other: exponents 4 to 7 of 16.
            codes = rng.integers(0, 256, shape, np.uint8) & 0x9F | 0x20
            scales = rng.uniform(1e-3, 2e-3, grid).astype(np.float32)
            name = f"{PREFIX}.{expert}.{kind}.weight"
            for label, dtype, array in (
                (name, "F8_E4M3", codes),
                (f"{name}_scale_inv", "F32", scales),
            ):
                stop = position + array.nbytes
                header[label] = {
                    "dtype": dtype,
                    "shape": array.shape,
                    "data_offsets": [position, stop],
                }
                parts.append(array)
                position = stop
    folder.mkdir()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in parts:
            file.write(array.tobytes())
    packing = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
    config = {"model_type": "deepseek_v3", "hidden_size": hidden, "quantization_config": packing}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@contextmanager
def groups_of(folder: Path) -> Iterator[list[Group]]:
    """The groups of experts of a model."""
    with mlx_probe.open_checkpoint(folder) as checkpoint:
        yield expert_groups(checkpoint.weights(), checkpoint.architecture)


def processor_seconds(work: Callable[[], object], runs: int) -> float:
    """The least processor time of some runs."""
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def read(group: Group) -> None:
    """Every expert once, unpacked."""
    for member in group.members:
        for loaded in loaded_chunks(member, BACKEND):
            assert loaded.chunk.stored.size == loaded.size


def overlaps(group: Group) -> Similarity | None:
    """Overlaps of all pairs of a group whose experts are all usable."""
    usable = np.ones(len(group.members), np.bool_)
    return subspace_overlaps(group.members, group.axis, usable, BACKEND, BUDGET, 0, 1)


def is_right(group: Group) -> bool:
    """Whether cosines and overlaps of two experts are those of their definitions."""
    values: list[NDArray[np.float64]] = []
    for member in group.members[:2]:
        values.append(np.empty(member.shape))
        read_into(member, values[-1])
    one, two = values
    expected = float(np.vdot(one, two) / np.linalg.norm(one) / np.linalg.norm(two))
    gram = flattened_gram(group.members[:2], BACKEND, BUDGET, 1)
    found = cosines(gram).at(0, 1)
    itself = overlaps(Group("", (group.members[0],) * 2, (0, 1), 2, None, group.axis, None))
    copied = None if itself is None else itself.at(0, 1)
    return (
        found is not None
        and abs(found - expected) < 1e-12
        and copied is not None
        and abs(copied - 1) < 1e-9
    )


@click.command()
@click.option("--experts", default=ROUTED, show_default=True, type=click.IntRange(2))
@click.option("--scale", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--whole-scale", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1))
@out_option
def main(experts: int, scale: int, whole_scale: int, runs: int, out: Path) -> None:
    """Measure the parts of the table of experts, and multiply by the size of DeepSeek-V3."""
    elements = LAYERS * KINDS * ROUTED * HIDDEN * WIDTH
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1, user_api="blas"):
        many = write_model(Path(name) / "many", experts, scale, ["gate_proj"])
        whole = write_model(Path(name) / "whole", 2, whole_scale, ["gate_proj", "down_proj"])
        with groups_of(many) as (group,), groups_of(whole) as wide:
            size = experts * group.members[0].numel
            reading = processor_seconds(lambda: read(group), runs) / size
            pairs = processor_seconds(
                lambda: flattened_gram(group.members, BACKEND, BUDGET, 1), runs
            ) / (size)
            bases = np.random.default_rng(0).standard_normal((experts, SUBSPACE, HIDDEN))
            usable = np.ones(experts, np.bool_)
            compared = processor_seconds(lambda: overlaps_of(bases, usable), runs)
            subspaces = [processor_seconds(partial(overlaps, each), runs) / 2 for each in wide]
            right = is_right(group)
            memory = max(
                least_bytes(group.members, BACKEND),
                *(expert_bytes(each.members[0], each.axis, BACKEND) for each in wide),
            )
    shape = f"{experts} of {WIDTH // scale} x {HIDDEN // scale}"
    one = f"{WIDTH // whole_scale} x {HIDDEN // whole_scale}"
    # Gate and up have the residual stream on the same side.
    subspace = (2 * subspaces[0] + subspaces[1]) / 3
    work = [
        ("cosines of all pairs, with one read", shape, 1e9 * pairs, elements / 1e9),
        ("(of it the read)", shape, 1e9 * reading, elements / 1e9),
        ("leading subspaces, with one read", one, subspace, LAYERS * KINDS * ROUTED),
        ("overlaps of all pairs", f"{experts} bases", compared, LAYERS * KINDS),
    ]
    units = ("10⁹ elements", "10⁹ elements", "experts", "groups")
    hours = [each * count / 3600 for *_, each, count in work]
    rows: list[list[Cell]] = [
        [what, where, rounded(each), f"{round(count):,} {unit}", rounded(hour)]
        for (what, where, each, count), unit, hour in zip(work, units, hours, strict=True)
    ]
    total = hours[0] + hours[2] + hours[3]
    rows.append(["671B in all", None, None, None, rounded(total)])
    publish("experts", COLUMNS, rows, _note(memory, total), out)
    sys.exit(0 if right else 1)


def _note(memory: int, total: float) -> str:
    return (
        f"The hours of W workers are those of one core over W ({rounded(total / 2)} for 2) if "
        "these scale like cores; time is proportional to elements, and to experts and groups, "
        f"whatever their size; the files are in memory. DeepSeek-V3: {LAYERS} layers of {ROUTED} "
        f"routed experts, {KINDS} matrices of {WIDTH:,} x {HIDDEN:,}; the shared expert is not "
        "compared. A worker takes at least "
        f"{rounded(memory / 1e6)} MB here."
    )


if __name__ == "__main__":
    main()
