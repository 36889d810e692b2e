"""The bar of a run on terminals of the usual widths."""

import io
import re

import numpy as np
import pytest
from rich.console import Console
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.cli.bar import Bar
from mlx_probe.core.language import VARIABLE, tr
from mlx_probe.report.terminal.wrapping import cells

NAMES = [f"model.language_model.layers.{i}.self_attn.q_proj.weight" for i in range(4)]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_bar_fits_one_line_and_shows_which_tensor(tmp_path, monkeypatch, width, language):
    monkeypatch.setenv(VARIABLE, language)
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((200, 200)).astype(np.float32) for name in NAMES}
    model = write_safetensors(tmp_path / "model.safetensors", arrays)
    file = io.StringIO()
    bar = Bar(Console(file=file, force_terminal=True, width=width, color_system=None))
    # Drawn at every change, not a few times a second.
    update = bar._progress.update
    bar._progress.update = lambda *ids, **fields: update(*ids, refresh=True, **fields)
    mlx_probe.analyze(model, out=tmp_path / "out", progress=bar)
    drawn = re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", file.getvalue()))
    lines = [line.rstrip() for line in drawn if tr("to go") in line]
    assert len(lines) > len(NAMES)
    assert all(cells(line) <= width for line in lines)
    # Nothing is cut but the beginning of the name, whose end tells tensors apart.
    begun = [line for line in lines if "weight" in line or "GB/s" in line]
    assert len(begun) > len(NAMES)
    assert all(line.endswith("eight") and "\u2026" not in line for line in begun)
    assert any(re.search(r"\b100% .*GB/s", line) for line in lines)
