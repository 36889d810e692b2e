"""Rows of a cluster: the bits of a run by itself, whoever dies meanwhile."""

import shutil
import time

import pyarrow.parquet
import pytest
from clusters import DEADLY, OLD, LoopbackCluster, preload
from models import Watcher, interrupt_after, invoke, refuses

import mlx_probe
from mlx_probe.analysis.analyze import analyze
from mlx_probe.analysis.cluster import connection
from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.dispatch import LOOK
from mlx_probe.core.errors import ClusterError, ConfigError, Interrupted

pytestmark = pytest.mark.slow
# What differs between two runs of one machine.
TIMES = {"created_at", "read_seconds", "compute_seconds", "read_gbps"}
BAD = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def deadly(folder):
    """The words with which workers are started, and the file that names the deadly tensor."""
    file = folder / "deadly"
    return preload(folder / "deadly.py", DEADLY, file=str(file)), file


@pytest.fixture(scope="module")
def cluster(folder, deadly):
    with LoopbackCluster(folder, workers=0) as started:
        for number in range(2):
            started.start_worker(f"w{number}", deadly[0])
        started.wait_for_workers(2)
        yield started


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    return analyze(tiny, out=out, formats=["parquet"], backend="numpy")


def spread(model, cluster, out, **settings):
    config = ClusterConfig(cluster.address, settings.pop("paths", ()), timeout=30.0)
    settings = {"formats": ["parquet"], "backend": "numpy", **settings}
    return analyze(model, out=out, cluster=config, **settings)


def numbers(run, without=()):
    table = run.table.drop_columns([*TIMES, *without])
    spectra = pyarrow.parquet.read_table(run.folder / "spectra.parquet")
    return repr(table.to_pylist()), spectra


def test_a_cluster_leaves_what_a_single_process_leaves(tiny, cluster, alone, tmp_path):
    run = spread(tiny, cluster, tmp_path / "out")
    assert numbers(run) == numbers(alone)
    names = lambda run: {p.name for p in run.folder.iterdir() if p.suffix != ".log"}  # noqa: E731
    assert names(run) == names(alone)
    meta = run.meta
    assert meta["fingerprint"] == alone.meta["fingerprint"]
    assert meta["cluster"] == {"address": cluster.address, "unlike": []}
    workers = meta["workers"]
    assert {worker["name"] for worker in workers} == {"w0", "w1"}
    copies = sum(alias is not None for alias in run.table["alias_of"].to_pylist())
    assert sum(worker["rows"] for worker in workers) == run.table.num_rows - copies
    # On a busy machine one of them may be done before the other begins.
    assert all(worker["peak_process_memory"] > 0 for worker in workers)
    assert {"moments", "gram", "solve", "read"} <= meta["stages"].keys()
    assert meta["bytes_read"] == alone.meta["bytes_read"]


def test_a_killed_worker_is_replaced(tiny, cluster, deadly, alone, tmp_path):
    alerts = []

    def kill(rows):
        if rows == 4:
            cluster.workers["w0"].kill()
            cluster.start_worker("w0", deadly[0])
            # Longer than between two looks at who is there: the model is small, and the other
            # worker could have done the rest before.
            time.sleep(2 * LOOK)

    progress = Watcher(kill)
    progress.alert = lambda text, warns: alerts.append(text)
    run = spread(tiny, cluster, tmp_path / "out", progress=progress)
    assert numbers(run) == numbers(alone)
    assert any("worker w0" in text and "is gone" in text for text in alerts)


def test_a_scheduler_that_was_restarted(tiny, cluster, alone, tmp_path):
    progress = Watcher(lambda rows: cluster.restart_scheduler() if rows == 3 else None)
    run = spread(tiny, cluster, tmp_path / "out", progress=progress)
    assert numbers(run) == numbers(alone)
    assert any(worker["left"] for worker in run.meta["workers"])


def test_an_interrupted_run_goes_on_alone_or_spread(tiny, cluster, alone, tmp_path):
    with pytest.raises(Interrupted):
        spread(tiny, cluster, tmp_path / "out", progress=interrupt_after(1))
    with pytest.raises(Interrupted):
        analyze(
            tiny,
            out=tmp_path / "out",
            formats=["parquet"],
            backend="numpy",
            progress=interrupt_after(1),
        )
    run = spread(tiny, cluster, tmp_path / "out")
    assert 2 <= run.meta["resumed_rows"] < 17
    assert numbers(run) == numbers(alone)


def test_a_tensor_that_kills_three_workers(tiny, folder, alone, deadly, tmp_path):
    words, file = deadly
    with LoopbackCluster(folder, workers=0) as started:
        for number in range(4):
            started.start_worker(f"w{number}", words)
        file.write_text(BAD)
        try:
            run = spread(tiny, started, tmp_path / "out")
        finally:
            file.unlink()
        assert sum(worker.poll() is not None for worker in started.workers.values()) == 3
    rows = {row["param_name"]: row for row in run.table.to_pylist()}
    bad = rows.pop(BAD)
    assert bad["status"] == "failed"
    assert bad["status_reason"].startswith("3 workers died while they measured it: worker w")
    assert bad["rank"] is None
    assert not run.passed
    whole = {row["param_name"]: row for row in alone.table.to_pylist()}
    assert all(
        repr([v for k, v in row.items() if k not in TIMES])
        == repr([v for k, v in whole[name].items() if k not in TIMES])
        for name, row in rows.items()
    )


def test_workers_that_do_not_fit_are_refused_by_name(tiny, folder, tmp_path):
    other = shutil.copytree(tiny, tmp_path / "other")
    file = other / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with LoopbackCluster(folder, workers=0) as started:
        started.start_worker("old", preload(folder / "old.py", OLD))
        started.start_worker("small", memory=70_000_000)
        started.start_worker("silent", memory=0)
        started.start_worker("copy")
        started.wait_for_workers(4)
        with pytest.raises(ClusterError) as refused:
            spread(tiny, started, tmp_path / "out", paths=(f"copy={other}",))
    text = str(refused.value)
    assert "4 of 4 workers may not take part" in text
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("  worker")}
    assert "mlx-probe 0.0.9" in lines["old"]
    assert "cannot hold" in lines["small"]
    assert "how much memory" in lines["silent"]
    assert "another copy" in lines["copy"]
    assert "model.safetensors holds other bytes" in lines["copy"]
    assert not (tmp_path / "out").exists()


def test_a_mixed_cluster(tiny, folder, alone, tmp_path):
    """One worker computes by numpy, one by MLX: rows agree within the bounds, and say which."""
    with LoopbackCluster(folder, workers=1) as started:
        started.start_worker("m", variables={"MLX_PROBE_ANALYZE_BACKEND": "mlx"})
        started.wait_for_workers(2)
        run = spread(tiny, started, tmp_path / "out", backend="auto", metrics="full")
    assert run.passed
    assert run.meta["backend"] == "mlx, numpy"
    assert run.meta["fingerprint"] != alone.meta["fingerprint"]
    rows = {row["param_name"]: row for row in run.table.to_pylist() if row["status"] == "ok"}
    assert {row["backend"] for row in rows.values()} == {"mlx", "numpy"}
    for whole in alone.table.to_pylist():
        row = rows.get(whole["param_name"])
        if row is not None and whole["expert_index"] is None and whole["rank"] is not None:
            assert row["rank"] == whole["rank"]
            bound = (row["spectrum_error"] + whole["spectrum_error"]) * whole["spectral_norm"]
            assert abs(row["spectral_norm"] - whole["spectral_norm"]) <= bound
            assert row["mean"] == pytest.approx(whole["mean"], rel=1e-9, abs=1e-12)


def test_a_worker_that_comes_late_has_to_compute_alike(tiny, folder, alone, tmp_path):
    """Its rows would stand in a journal that says that all have the bits of this machine."""
    with LoopbackCluster(folder, workers=1) as started:
        started.wait_for_workers(1)
        alerts = []

        def join(rows):
            if rows == 1:
                started.start_worker("m", variables={"MLX_PROBE_ANALYZE_BACKEND": "mlx"})
                started.wait_for_workers(2)
            if rows < 4:
                time.sleep(0.5)  # until it was looked at

        progress = Watcher(join)
        progress.alert = lambda text, warns: alerts.append(text)
        run = spread(tiny, started, tmp_path / "out", backend="auto", progress=progress)
    assert numbers(run) == numbers(alone)
    assert any("worker m" in text and "computes with mlx" in text for text in alerts)


def test_what_a_cluster_decides_itself_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match="workers cannot be 2"):
        analyze(tiny, out=tmp_path / "out", cluster="tcp://127.0.0.1:9", workers=2)
    for address in ("here", "local", "local:0", "local:two", "local:-1", "tcp://", "tcp://a b"):
        with pytest.raises(ConfigError, match="no address"):
            analyze(tiny, out=tmp_path / "out", cluster=address)
    refuses(invoke("analyze", tiny, "--cluster", "local:2", "--dry-run"), "asks no cluster", code=2)
    refuses(invoke("analyze", tiny, "--full-hash"), "Name it with --cluster", code=2)


def test_a_cluster_that_is_not_there(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "_REACHED", 1.0)
    with pytest.raises(ClusterError, match="does not answer"):
        mlx_probe.analyze(tiny, out=tmp_path / "out", cluster="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()
