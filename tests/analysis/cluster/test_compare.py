"""A comparison, measured by the workers of a cluster."""

import shutil
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from models import invoke, refuses
from pairs import adapter, base_model, saved

from mlx_probe.analysis.budget import Budget
from mlx_probe.analysis.cluster import dispatch
from mlx_probe.analysis.cluster import run as cluster_run
from mlx_probe.analysis.cluster.compare_session import CompareSetup, content_of
from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.copied_model import copied_model
from mlx_probe.analysis.cluster.facts import gather_facts
from mlx_probe.analysis.cluster.measuring import Measure, numerics_of
from mlx_probe.analysis.cluster.session import Allowance
from mlx_probe.analysis.compare import plan as compare_plan
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.compare.scope import Scope
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import CheckpointError, ClusterError, ConfigError, Interrupted
from mlx_probe.core.machine import host_name

pytestmark = pytest.mark.slow
CONFIG = CompareConfig(backend="numpy")
UP = "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base, a tuned model in which most tensors have changed, and a LoRA adapter."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("models")
    arrays = base_model(rng)
    tuned = {n: x + 0.1 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    tuned["model.layers.0.input_layernorm.weight"] = arrays["model.layers.0.input_layernorm.weight"]
    del tuned["model.layers.1.mlp.down_proj.weight"]
    stem = f"base_model.model.{UP}"
    factors = {
        f"{stem}.lora_A.weight": rng.standard_normal((4, 40)).astype("f4"),
        f"{stem}.lora_B.weight": rng.standard_normal((64, 4)).astype("f4"),
    }
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["up_proj"]}
    return {
        "base": saved(folder / "base", arrays),
        "tuned": saved(folder / "tuned", tuned),
        "lora": adapter(folder / "lora", factors, settings),
    }


@pytest.fixture
def opened(models):
    with ExitStack() as stack:
        yield [stack.enter_context(open_checkpoint(models[name])) for name in ("base", "tuned")]


def alone(models, out, b="tuned", **settings):
    settings = {"config": CONFIG, **settings}
    return compare(models["base"], models[b], out=out / "alone", formats=["parquet"], **settings)


def spread(models, cluster, out, b="tuned", a_paths=(), b_paths=(), **settings):
    config = ClusterConfig(cluster.address, a_paths, timeout=30.0, other_model_paths=b_paths)
    settings = {"config": CONFIG, "cluster": config, **settings}
    return compare(models["base"], models[b], out=out / "spread", formats=["parquet"], **settings)


def rows(run):
    # Texts: NaN is equal to itself there, and every other number only to the same bits.
    table = run.load().drop(columns="compute_seconds").sort_values("param_name")
    return {row["param_name"]: repr(row) for row in table.to_dict("records")}


@pytest.mark.parametrize("b", ["tuned", "lora"])
def test_workers_make_the_rows_of_a_single_process(models, three_workers, tmp_path, b):
    single = alone(models, tmp_path, b)
    run = spread(models, three_workers, tmp_path, b)
    assert rows(run) == rows(single)
    assert run.passed
    assert set(run.load().host) == {host_name()}
    assert {"ok", "identical"} <= set(run.load().status)
    assert run.meta["fingerprint"] == single.meta["fingerprint"]
    assert run.meta["cluster"] == {"address": three_workers.address, "unlike": []}
    assert sum(worker["rows"] for worker in run.meta["workers"]) == len(run.load())
    assert run.meta["backend_reason"].startswith("3 workers on ")
    assert run.meta["stages"]["change"]["seconds"] > 0
    names = [{path.name for path in r.folder.iterdir()} for r in (run, single)]
    assert {n for n in names[0] if not n.endswith(".log")} == {
        n for n in names[1] if not n.endswith(".log")
    }


def test_the_memory_limit_of_the_client_decides_what_is_left_out(
    models, three_workers, tmp_path, monkeypatch, opened
):
    largest = max(scope.nbytes for scope in make_plan(*opened, CONFIG).scopes)
    monkeypatch.setattr(compare_plan, "memory_budget", lambda limit: Budget(largest - 1, 0))
    single = alone(models, tmp_path)
    reasons = set(single.load().missing_reason.dropna())
    assert any("singular vectors take" in reason for reason in reasons)
    run = spread(models, three_workers, tmp_path)
    assert rows(run) == rows(single)


def test_a_cluster_goes_on_where_a_process_stopped(models, three_workers, tmp_path):
    def stop(done, total, label):
        if done == 4:
            raise KeyboardInterrupt

    single = alone(models, tmp_path)
    with pytest.raises(Interrupted):
        alone(models, tmp_path / "again", on_row=stop)
    (tmp_path / "again" / "alone").rename(tmp_path / "spread")
    run = spread(models, three_workers, tmp_path)
    assert run.meta["resumed_rows"] >= 4
    assert rows(run) == rows(single)


def test_a_pair_whose_workers_die_is_failed(models, three_workers, tmp_path, monkeypatch):
    single = alone(models, tmp_path)
    for module in (dispatch, cluster_run):
        monkeypatch.setattr(module, "DEATHS", 2)
    with open_checkpoint(models["base"]) as a, open_checkpoint(models["tuned"]) as b:
        pairs = make_plan(a, b, CONFIG).pairs
    index = next(i for i, pair in enumerate(pairs) if pair.weight.name == f"{UP}.weight")
    # What it is to read ahead follows.
    with three_workers.dying_at(str(Measure(((index,),))).partition(" following")[0]) as dead:
        run = spread(models, three_workers, tmp_path)
    assert len(dead) == 2
    made, expected = rows(run), rows(single)
    table = run.load().set_index("param_name")
    assert table.status[f"{UP}.weight"] == "failed"
    reason = table.status_reason[f"{UP}.weight"]
    assert reason.startswith("2 workers died while they measured it: worker")
    assert all(name in reason for name in dead)
    assert made.pop(f"{UP}.weight") != expected.pop(f"{UP}.weight")
    assert made == expected


def test_a_worker_with_another_copy_of_b_is_refused(models, three_workers, tmp_path):
    other = shutil.copytree(models["tuned"], tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    copy = shutil.copytree(models["base"], tmp_path / "copy")
    with pytest.raises(ClusterError) as refused:
        spread(models, three_workers, tmp_path, a_paths=(str(copy),), b_paths=(f"w1={other}",))
    text = str(refused.value)
    assert "1 of 3 workers may not take part" in text
    assert "worker w1" in text
    assert "another copy of tuned" in text
    assert "--b-on-workers" in text


def test_the_command(models, three_workers, tmp_path):
    address = three_workers.address
    out = tmp_path / "out"
    result = invoke(
        *("compare", models["base"], models["lora"], "--cluster", address, "--out", out),
        *("--b-on-workers", models["lora"], "--a-on-workers", models["base"], "--full-hash"),
    )
    assert result.exit_code == 0, result.output
    assert "3 workers on" in result.output
    result = invoke("compare", models["base"], models["lora"], "--b-on-workers", "x")
    refuses(result, "Name it with --cluster", code=2)


def test_a_number_of_workers_is_refused(models, tmp_path):
    with pytest.raises(ConfigError, match="workers cannot be 2 on a cluster"):
        compare(
            *(models["base"], models["tuned"]),
            out=tmp_path / "out",
            cluster="local:2",
            config=replace(CONFIG, workers=2),
        )


def setup_of(plan, scopes, backend="numpy"):
    return CompareSetup(
        token="t",
        models=tuple(copied_model(model, ()) for model in (plan.a, plan.b)),
        config=replace(CONFIG, backend=backend),
        solvers=plan.solvers,
        numerics=numerics_of(plan),
        full_hash=False,
        scopes=scopes,
    )


ALLOWED = Allowance(10**9, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_has_the_clients_scopes_and_its_own_memory(opened, backend):
    plan = make_plan(*opened, CONFIG)
    scopes = tuple(replace(scope, vectors=False, reason="said so") for scope in plan.scopes)
    facts = gather_facts(backend, "cpu")
    session = setup_of(plan, scopes, backend).open(facts, "w", ALLOWED)
    try:
        own = make_plan(*opened, replace(CONFIG, backend=backend, directions=0))
        known = [i for i, pair in enumerate(plan.pairs) if pair.status is None]
        assert [session.sizes[i] for i in known] == [own.scopes[i].nbytes for i in known]
        assert session.content == content_of(plan.pairs)
        assert len(session.copies) == 2
    finally:
        session.close()


def test_other_pairs_are_refused(opened):
    plan = make_plan(*opened, CONFIG)
    with pytest.raises(CheckpointError, match="pairs of tensors, and not 1"):
        setup_of(plan, (Scope(True, True, None, 0),)).open(
            gather_facts("numpy", "cpu"), "w", ALLOWED
        )


def test_the_content_tells_other_pairs(opened):
    pairs = make_plan(*opened, CONFIG).pairs
    assert content_of(pairs) != content_of(pairs[1:])
    assert content_of(pairs) != content_of([replace(pairs[0], interleaved_a=8), *pairs[1:]])
