"""A text before and after, and by mlx-lm's own uniform quantization of the same size."""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.lab.budget import perplexity
from mlx_probe.lab.budget.export import export_budget
from mlx_probe.lab.budget.perplexity import TextConfig
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Goal
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.evaluate import evaluate
from mlx_probe.lab.export import EXPORTS


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    mlx_lm("utils")
    root = tmp_path_factory.mktemp("text")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer")
        model = make_model(root / "model", tokenizer, dim=64, hidden=128, dtype="bfloat16")
    text = root / "text.txt"
    text.write_text("\n\n".join(TEXTS * 3))
    options = {"bits": (3, 4, 6), "modes": ("affine",), "device": "cpu", "kinds": ("bits",)}
    return model, text, plan_budget(str(model), Goal(error=0.08), **options)


def test_the_losses_are_those_of_evaluate(tmp_path, case):
    model, text, plan = case
    steps = []
    config = TextConfig(str(text), tokens=100, context=24)
    exported = export_budget(
        plan, tmp_path / "out", config, on_tokens=lambda done, total: steps.append((done, total))
    )
    before, after, uniform = exported.predicted
    assert [row.name for row in exported.predicted] == ["before", "after", "uniform"]
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]

    with mx.stream(mx.cpu):
        EXPORTS["mlx"](str(model), tmp_path / "uniform", f"{uniform.bits}bit")
    settings = EvaluateConfig(context=24, max_tokens=100, document="chunk")
    folders = (model, tmp_path / "out", tmp_path / "uniform")
    for row, folder in zip(exported.predicted, folders, strict=True):
        result = evaluate(folder, text, config=settings)
        assert row.val_loss == pytest.approx(result["val_loss"], abs=1e-5)
        assert row.perplexity == pytest.approx(np.exp(row.val_loss))
        assert row.tokens == result["tokens"]
        assert row.reason == ""
    assert (before.bytes, after.bytes) == (plan.before, plan.after)
    # The headers of MLX's own writer are shorter: it writes no spaces.
    written = sum(path.stat().st_size for path in (tmp_path / "uniform").glob("*.safetensors"))
    assert uniform.bytes == pytest.approx(written, abs=1000)
    others = [row for row in perplexity.WIDTHS if row != uniform.bits]
    sizes = {bits: perplexity.uniform_bytes(plan, bits) for bits in others}
    assert all(abs(uniform.bytes - plan.after) <= abs(size - plan.after) for size in sizes.values())

    record = json.loads((tmp_path / "out" / "budget.json").read_text())
    assert record["exported"]["text"]["models"][1]["perplexity"] == after.perplexity
    meta = json.loads((tmp_path / "out" / "run_meta.json").read_text())
    assert meta["metrics"]["uniform_perplexity"] == uniform.perplexity
    assert [each["role"] for each in meta["inputs"]] == ["base", "data"]


def test_a_model_that_does_not_fit_is_not_run(tmp_path, case, monkeypatch):
    _, text, plan = case
    monkeypatch.setattr(perplexity, "_free_memory", lambda: 1000)
    exported = export_budget(plan, tmp_path / "out", TextConfig(str(text)))
    assert {row.perplexity for row in exported.predicted} == {None}
    assert all("are free" in row.reason for row in exported.predicted)


def test_a_packed_model_has_no_uniform_choice(tmp_path, case):
    model, text, _ = case
    with mx.stream(mx.cpu):
        EXPORTS["mlx"](str(model), tmp_path / "packed", "8bit")
    options = {"bits": (4,), "modes": ("affine",), "device": "cpu", "kinds": ("bits",)}
    plan = plan_budget(str(tmp_path / "packed"), Goal(error=0.2), **options)
    exported = export_budget(plan, tmp_path / "out", TextConfig(str(text), 40, 24))
    *ran, uniform = exported.predicted
    assert all(row.perplexity for row in ran)
    assert uniform.perplexity is None
    assert "packed already" in uniform.reason
