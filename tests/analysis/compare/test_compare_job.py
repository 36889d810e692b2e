"""What a comparison leaves beside its tables: log, plan and cost account."""

import json

import numpy as np
import pytest
from pairs import adapter, base_model, saved

import mlx_probe
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.forecast import forecast_comparison
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.forecast.rates import Rates
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.errors import CheckpointError, ResultError
from mlx_probe.runs.folder import resolve_output

LAYER = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def arrays():
    return base_model(np.random.default_rng(11))


@pytest.fixture(scope="module")
def base(arrays, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("models") / "base", arrays)


@pytest.fixture(scope="module")
def tuned(arrays, tmp_path_factory):
    """Every tensor has changed."""
    rng = np.random.default_rng(12)
    changed = {n: x + 0.1 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    return saved(tmp_path_factory.mktemp("models") / "tuned", changed)


@pytest.fixture(scope="module")
def run(base, tuned, tmp_path_factory):
    return compare(base, tuned, out=tmp_path_factory.mktemp("run") / "out")


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    rng = np.random.default_rng(13)
    stem = f"base_model.model.{LAYER.removesuffix('.weight')}"
    factors = {
        f"{stem}.lora_A.weight": rng.standard_normal((4, 40)).astype("f4"),
        f"{stem}.lora_B.weight": rng.standard_normal((64, 4)).astype("f4"),
    }
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["up_proj"]}
    return adapter(tmp_path_factory.mktemp("models") / "lora", factors, config)


def plan_of(run):
    return json.loads((run.folder / "compare.plan.json").read_text("utf-8"))


def log_of(folder):
    return "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("compare_*.log")))


def test_the_log_names_models_tensors_checks_and_files(run):
    text = log_of(run.folder)
    models = run.meta["models"]
    for side in ("a", "b"):
        assert f"{models[side]['id']} at local" in text
    for name in run.load().param_name:
        assert text.count(f" INFO mlx_probe.runs.job: {name}: ok") == 1
    assert "status: ok" in text
    assert f"written: {run.folder / 'compare.csv'}" in text


def test_the_log_has_what_ended_it(base, arrays, tmp_path):
    other = saved(tmp_path / "other", arrays)

    def meddle(done, total, label):
        (other / "model.safetensors").touch()

    with pytest.raises(CheckpointError, match="a model changed while it was compared"):
        compare(base, other, out=tmp_path / "out", on_row=meddle)
    assert " ERROR mlx_probe.runs.log: a model changed" in log_of(tmp_path / "out")
    assert not (tmp_path / "out" / "compare.csv").exists()


def test_a_model_that_vanishes_gives_no_table(base, arrays, tmp_path):
    other = saved(tmp_path / "other", arrays)

    def meddle(done, total, label):
        if done == total:
            (other / "model.safetensors").unlink()

    with pytest.raises(CheckpointError, match="changed while it was compared"):
        compare(base, other, out=tmp_path / "out", on_row=meddle)
    assert not (tmp_path / "out" / "compare.run_meta.json").exists()


def test_a_second_comparison_is_kept_out(base, tuned, tmp_path):
    def intrude(done, total, label):
        if done == 2:
            with pytest.raises(ResultError, match="another run is writing here"):
                compare(base, tuned, out=tmp_path)

    assert compare(base, tuned, out=tmp_path, on_row=intrude).passed


def test_the_cost_account(run):
    meta = json.loads(run.meta_path.read_text("utf-8"))
    stages = meta["stages"]
    assert set(stages) == {"read", "change", "gram", "solve", "vectors"} <= set(STAGES)
    assert stages["read"]["bytes"] == meta["bytes_read"] > 0
    assert meta["limit"]["name"]
    assert 0 < meta["limit"]["share"] <= 1
    assert meta["calibration"]["copy_bandwidth"] > 0
    assert set(meta["seconds"]) == {"open", "measure", "validate", "write", "compute_in_workers"}
    inside = sum(stage["seconds"] for stage in stages.values())
    assert inside <= meta["seconds"]["compute_in_workers"]


def test_the_plan_is_what_came_of_it(run):
    """Every tensor differs, no spectrum needs another method: arithmetic and bytes are exact."""
    plan, meta = plan_of(run), run.meta
    assert plan["pairs"] == len(run.load())
    assert plan["read_bytes"] == meta["bytes_read"]
    flops = {name: stage["flops"] for name, stage in plan["stages"].items()}
    assert flops == pytest.approx({name: s["flops"] for name, s in meta["stages"].items()})
    matrices = run.load().rows.notna().sum()
    assert plan["spectra"] == plan["vectors"] == matrices
    assert plan["pairs_by_match"] == {"name": plan["pairs"]}
    assert (plan["pairs_by_status"], plan["left_out"], plan["fits"]) == ({}, [], True)
    assert [*plan["outputs"]] == [
        str(run.folder / name)
        for name in ("compare.csv", "compare.plan.json", "compare.run_meta.json")
    ]
    assert plan["log"] == str(next(run.folder.glob("compare_*.log")))
    assert plan["configuration"] == json.loads(json.dumps(meta["configuration"]))
    memory = plan["memory"]
    assert memory["process"] < memory["peak"]
    assert memory["least"] <= memory["limit"]


@pytest.mark.parametrize("directions", [0, 16])
def test_the_plan_of_an_adapter(base, lora, tmp_path, directions):
    config = CompareConfig(directions=directions)
    run = compare(base, lora, out=tmp_path, config=config)
    plan, meta = plan_of(run), run.meta
    assert plan["pairs_by_match"] == {"adapter": plan["pairs"]}
    assert plan["read_bytes"] == meta["bytes_read"]
    flops = {name: stage["flops"] for name, stage in plan["stages"].items()}
    assert flops == pytest.approx({name: s["flops"] for name, s in meta["stages"].items()})
    assert flops["direct"] == 2 * 4**2 * (64 + 40) + 14 / 3 * 4**3
    assert ("vectors" in flops) == bool(directions)


def test_the_plan_says_what_the_headers_decide(base, arrays, tmp_path):
    other = dict(arrays)
    other["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"][:50]
    other["extra.weight"] = np.ones((3, 3), np.float32)
    run = compare(base, saved(tmp_path / "b", other), out=tmp_path / "out")
    plan = plan_of(run)
    assert plan["pairs_by_status"] == {"reshaped": 1, "only_b": 1}
    # Small pairs are read once, whatever is computed of them.
    assert run.meta["bytes_read"] == plan["stored_bytes"] == plan["read_bytes"]


def test_the_plan_says_what_the_memory_limit_leaves_out(tmp_path):
    x = np.zeros((2048, 1024), np.float32)
    model = saved(tmp_path / "model", {LAYER: x})
    with mlx_probe.open_checkpoint(model) as a, mlx_probe.open_checkpoint(model) as b:
        free = make_plan(a, b, CompareConfig())
        taken = free.config.memory_limit - free.budget
        limit = taken + free.scopes[0].nbytes - 1
        plan = make_plan(a, b, CompareConfig(memory_limit=limit))
        forecast = forecast_comparison(plan, resolve_output(tmp_path, (), "x", "compare"), None)
    ((label, reason),) = forecast.left_out
    assert (forecast.spectra, forecast.vectors) == (1, 0)
    assert label == LAYER
    assert "singular vectors take" in reason
    assert "vectors" not in forecast.stages


COPY = 1e-10
RATES = Rates(
    {},
    opening=1e-5,
    copy=COPY,
    gram=((64.0, 1e-8), (128.0, 2e-8)),
    solve=((64.0, 1e-3), (128.0, 8e-3)),
)


def estimate(a, b, tmp_path, rates=RATES, **settings):
    with mlx_probe.open_checkpoint(a) as first, mlx_probe.open_checkpoint(b) as second:
        plan = make_plan(first, second, CompareConfig(**settings))
        return forecast_comparison(plan, resolve_output(tmp_path, (), "x", "compare"), rates)


def test_times_follow_from_the_machine_s_rates(base, tuned, tmp_path):
    alone, together = (estimate(base, tuned, tmp_path, workers=n) for n in (1, 4))
    assert all(stage.seconds > 0 for stage in alone.stages.values())
    inside = sum(stage.seconds for stage in alone.stages.values())
    assert alone.seconds > inside > alone.seconds - 1.0
    assert together.seconds < alone.seconds
    without = estimate(base, tuned, tmp_path, workers=1, directions=0)
    assert without.seconds < alone.seconds
    # That of the difference, and those of both sides.
    assert 3 * without.stages["gram"].flops == alone.stages["gram"].flops
    assert "vectors" not in without.stages


def test_unknown_rates_give_no_times(base, tuned, tmp_path):
    for rates in (None, Rates({}), Rates({}, copy=COPY, gram=RATES.gram)):
        forecast = estimate(base, tuned, tmp_path, rates)
        assert forecast.seconds is None
        assert all(stage.seconds is None for stage in forecast.stages.values())
        assert forecast.stages["gram"].flops > 0
