"""Stored runs of two small models with known peculiarities, a comparison, and a catalog."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from expert_models import MOE, mixture
from expert_models import named as named_experts
from pairs import base_model, saved

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.library.catalog import open_database, scan

CONFIG = {
    **MOE, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8, "num_hidden_layers": 8
}  # fmt: skip
# Made so: 12 of the 40 singular values are there.
POOR = "model.layers.1.mlp.up_proj.weight"
POOR_RANK = 12
# Ten times what the others of its kind have.
LOUD = "model.layers.5.mlp.down_proj.weight"
TWINS = (1, 3)


def arrays_of(seed):
    rng = np.random.default_rng(seed)
    arrays = base_model(rng, layers=8)
    for layer in range(8):
        name = f"model.layers.{layer}.self_attn."
        arrays[f"{name}v_proj.weight"] = rng.standard_normal((24, 40)).astype(np.float32)
        arrays[f"{name}o_proj.weight"] = rng.standard_normal((40, 48)).astype(np.float32)
    stacks = mixture(rng)
    stacks["up_proj"][TWINS[1]] = stacks["up_proj"][TWINS[0]]
    arrays |= {name: matrix.astype(np.float32) for name, matrix in named_experts(stacks).items()}
    u, s, v = np.linalg.svd(arrays[POOR].astype(np.float64), full_matrices=False)
    s[POOR_RANK:] = 0
    arrays[POOR] = ((u * s) @ v).astype(np.float32)
    # One direction only: an effective rank that stands out.
    loud = np.outer(rng.standard_normal(40), rng.standard_normal(64))
    arrays[LOUD] = (loud + 1e-4 * arrays[LOUD]).astype(np.float32)
    return arrays


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """Runs of all formats and metric sets over two models, a comparison, and a catalog."""
    root = tmp_path_factory.mktemp("query")
    base = arrays_of(0)
    saved(root / "models" / "base", base, CONFIG)
    tuned = dict(base)
    changed = "model.layers.3.self_attn.q_proj.weight"
    tuned[changed] = base[changed] + np.float32(0.5) * np.roll(base[changed], 1, axis=0)
    saved(root / "models" / "tuned", tuned, CONFIG)
    saved(root / "models" / "other", {"w": np.eye(4, dtype=np.float32)}, {"model_type": "llama"})
    runs = root / "runs"

    def analyzed(name, model, level, formats):
        config = AnalyzeConfig(metrics=level, save_spectra=level == "full", workers=1)
        return mlx_probe.analyze(
            str(root / "models" / model), out=runs / name, formats=formats, config=config
        )

    analyzed("base", "base", "full", ["csv"])
    analyzed("tuned", "tuned", "full", ["jsonl"])
    analyzed("quick", "base", "basic", ["parquet"])
    mlx_probe.compare(
        str(root / "models" / "base"), str(root / "models" / "tuned"), out=runs / "pair"
    )
    path = runs / "base" / "run_meta.json"
    meta = json.loads(path.read_text("utf-8"))
    meta["findings"] = [
        {"rule": "rank_lost", "severity": "high", "sentence": "It has lost rank.",
         "rows": [POOR], "evidence": {"rank": POOR_RANK}, "remedy": "Look at it."},
        {"rule": "wide", "severity": "note", "sentence": "Narrower values would do.",
         "rows": [], "evidence": {}, "remedy": "Store it as BF16."},
    ]  # fmt: skip
    path.write_text(json.dumps(meta), "utf-8")
    with open_database(root / "catalog.sqlite") as database:
        scan(database, [root / "models"], [], [runs], lambda path: None)
    return SimpleNamespace(
        root=root, runs=runs, database=root / "catalog.sqlite", arrays=base, changed=changed
    )


@pytest.fixture
def ask(stored):
    def rows(sql, *runs, **options):
        options = {"database": stored.database, **options}
        return mlx_probe.query(sql, runs or [stored.runs], **options).to_pylist()

    return rows
