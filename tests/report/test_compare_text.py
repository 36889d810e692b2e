"""A comparison's summary for a terminal."""

import io

import numpy as np
import pytest
from pairs import base_model, rows_of, saved
from rich.console import Console

from mlx_probe.report.terminal.compare import comparison_summary


def test_the_total_leaves_integer_buffers_out(tmp_path, rng):
    """Position numbers have a norm far above that of all weights."""
    arrays = base_model(rng)
    positions = np.arange(512)[None]
    numbers = {"embeddings.position_ids": (positions.astype("<i8"), "I64")}
    name = "model.layers.0.mlp.up_proj.weight"
    tuned = arrays | {name: arrays[name] + np.float32(0.1)}
    folders = [saved(tmp_path / n, a | numbers) for n, a in (("a", arrays), ("b", tuned))]
    rows = rows_of(*folders, tmp_path / "out").reset_index().to_dict("records")
    for row in rows:
        for key, value in row.items():
            if not isinstance(value, (list, np.ndarray)) and value != value:
                row[key] = None
    models = {side: {"id": side, "revision": "local"} for side in ("a", "b")}
    console = Console(file=io.StringIO(), width=120)
    console.print(comparison_summary(rows, {"models": models}))
    text = " ".join(console.file.getvalue().split())
    size = sum(x.size for x in arrays.values())
    before = np.sqrt(sum(np.square(x.astype(float)).sum() for x in arrays.values()))
    change = np.linalg.norm(tuned[name].astype(float) - arrays[name])
    assert f"of {size:,} compared parameters" in text
    assert float(text.split("relative change of them all ")[1].split()[0]) == pytest.approx(
        change / before, rel=1e-3
    )
