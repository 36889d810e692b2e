"""The whole watch around a job that is a test, with its own thread and files."""

import errno
import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
from project import CONFIGS

from mlx_probe.core.errors import ConfigError, Stopped
from mlx_probe.core.files import LineWriter
from mlx_probe.lab.serve.metrics import metric_names as served_names
from mlx_probe.runs.monitor import process_memory
from mlx_probe.runs.monitor.jobs import jobs_folder, running_jobs
from mlx_probe.runs.monitor.prometheus import ADDRESS, PREFIX, metric_names
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.samples import read_recording
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig

TIMEOUT = 30


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))


class Told:
    """Messages, and a way to wait for one."""

    def __init__(self):
        self.texts, self._changed = [], threading.Condition()

    def __call__(self, text, is_warning):
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, start):
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(text.startswith(start) for text in self.texts), TIMEOUT
            ), self.texts


@pytest.fixture
def alerts():
    return Told()


def watching(tmp_path, alerts=None, *alert, state=JobState, **how):
    config = WatchConfig(alert=alert, interval=0.01, prometheus=how.pop("prometheus", 0))
    lines = tmp_path / "monitor.0.samples.jsonl"
    return JobMonitor(
        "test", "m", state, config=config, folder=tmp_path, lines=lines, on_alert=alerts, **how
    )


def pressed(monkeypatch, gigabytes):
    """Let the machine say that so much of its memory is available."""
    real = psutil.virtual_memory()
    value = real._replace(available=int(gigabytes * 1e9), total=10 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: value)


def test_a_breach_pauses_within_two_samples_and_resumes(tmp_path, alerts, monkeypatch):
    pressed(monkeypatch, 5)
    passed = []
    with watching(tmp_path, alerts, "memory above 90% pause") as watch:
        watch.gate.wait()
        pressed(monkeypatch, 0.5)
        alerts.wait_for("paused")
        thread = threading.Thread(target=lambda: (watch.gate.wait(), passed.append(1)))
        thread.start()
        thread.join(0.1)
        assert passed == []
        pressed(monkeypatch, 5)
        alerts.wait_for("goes on")
        thread.join(TIMEOUT)
        assert passed == [1]
    samples = read_recording(tmp_path / "monitor.0.samples.jsonl").samples
    broken = [i for i, sample in enumerate(samples) if sample.memory_percent > 90]
    # Two is what is allowed; it is the very sample that finds it.
    assert samples[broken[0]].state == "paused"
    assert all(samples[i].alerts and samples[i].state == "paused" for i in broken)
    assert samples[-1].state == "running"
    assert samples[-1].alerts == ()


def test_allocated_memory_breaks_a_rule(tmp_path, alerts):
    limit = process_memory() + 100_000_000
    with watching(tmp_path, alerts, f"process above {limit} stop") as watch:
        watch.gate.wait()
        ballast = np.ones(40_000_000)
        alerts.wait_for("stopping: process at")
        with pytest.raises(Stopped, match=f"process above {limit} stop"):
            watch.gate.wait()
        del ballast


def test_what_is_kept(tmp_path, alerts):
    state = JobState(3, 9, "a tensor")
    with watching(tmp_path, alerts, "memory above 0.001% warn", state=lambda: state) as watch:
        summary = watch.keep(tmp_path / "monitor.parquet")
    assert summary["file"] == "monitor.parquet"
    assert summary["rules"] == ["memory above 0.001% warn"]
    assert [alert["rule"] for alert in summary["alerts"]] == summary["rules"]
    assert summary["paused_seconds"] == 0
    assert json.loads(json.dumps(summary)) == summary
    kept = read_recording(tmp_path / "monitor.parquet")
    assert len(kept.samples) == summary["samples"] >= 2
    assert {(s.done, s.total, s.what) for s in kept.samples} == {(3, 9, "a tensor")}
    assert [each.kind for each in kept.jobs] == ["test"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "monitor.parquet"]


def test_a_job_is_listed_until_its_file_is_there(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "mlx_probe.runs.monitor.watch.write_recording",
        lambda lines, path: seen.extend(running_jobs()) or 0,
    )
    with watching(tmp_path) as watch:
        assert [job.title for job in running_jobs()] == ["m"]
        watch.keep(tmp_path / "monitor.parquet")
    assert len(seen) == 1
    assert running_jobs() == []


def test_lines_stay_when_a_job_fails_and_its_threads_end(tmp_path, alerts):
    ended = threading.Event()

    def work():
        with pytest.raises(Stopped, match="has ended"):
            watch.gate.wait()
        ended.set()

    def fail():
        alerts.wait_for("paused")
        threading.Thread(target=work).start()
        raise KeyboardInterrupt

    watch = watching(tmp_path, alerts, "memory above 0.001% pause")
    with pytest.raises(KeyboardInterrupt), watch:
        fail()
    assert ended.wait(TIMEOUT)
    assert read_recording(tmp_path / "monitor.0.samples.jsonl").samples[0].state == "paused"
    assert running_jobs() == []
    assert "sampler" not in {thread.name for thread in threading.enumerate()}


def test_a_job_without_a_file_of_samples_can_be_followed_and_leaves_none(alerts):
    with JobMonitor("download", "m", JobState, config=WatchConfig(interval=0.01)) as watch:
        (job,) = running_jobs()
        while len(read_recording(Path(job.samples)).samples) < 2:
            pass
        watch.gate.wait()
    assert list(jobs_folder().iterdir()) == []


def test_a_full_disk_has_one_message_and_costs_samples_only(tmp_path, alerts, monkeypatch):
    tried = threading.Semaphore(0)

    def refuse(self, line):
        tried.release()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LineWriter, "append", refuse)
    with watching(tmp_path, alerts) as watch:
        for _ in range(4):
            assert tried.acquire(timeout=TIMEOUT)
        watch.gate.wait()
        assert watch.keep(tmp_path / "monitor.parquet")["samples"] == 0
    assert len(alerts.texts) == 1
    assert "No space left" in alerts.texts[0]


def test_a_folder_that_cannot_be_written_has_a_message_and_costs_samples_only(tmp_path, alerts):
    (tmp_path / "monitor.0.samples.jsonl").mkdir()
    with watching(tmp_path, alerts) as watch:
        watch.gate.wait()
        assert watch.keep(tmp_path / "monitor.parquet")["file"] is None
    assert "no samples are kept" in alerts.texts[0]


def test_a_sampler_that_fails_holds_nobody(tmp_path, alerts, monkeypatch):
    failures = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
    with watching(tmp_path, alerts, "memory above 0.001% pause") as watch:
        alerts.wait_for("paused")
        monkeypatch.setattr(watch._readings, "look", lambda state: 1 / 0)
        watch.gate.wait()
        monkeypatch.undo()
    assert [type(error) for error in failures] == [ZeroDivisionError]


@pytest.mark.parametrize("alert", [("memory above",), ("disk below 5GB stop", "nonsense")])
def test_a_wrong_rule_is_refused_before_anything_is_there(tmp_path, alert):
    with pytest.raises(ConfigError, match="is not a rule"), watching(tmp_path, None, *alert):
        pass
    assert list(tmp_path.iterdir()) == []


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def metrics(port):
    with urllib.request.urlopen(f"http://{ADDRESS}:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_prometheus_finds_the_latest_sample_on_the_loopback(tmp_path, alerts):
    pytest.importorskip("prometheus_client")
    port = free_port()
    state = JobState(30, 90, "a tensor")
    watch = watching(
        tmp_path, alerts, "memory above 0.001% warn", state=lambda: state, prometheus=port
    )
    with watch:
        alerts.wait_for("memory at")
        while "mlx_probe_alerts" not in (text := metrics(port)):
            pass
        connections = psutil.Process().net_connections("tcp")
        bound = [c.laddr.ip for c in connections if c.laddr.port == port and not c.raddr]
        assert bound == [ADDRESS]
    assert "mlx_probe_done 30.0" in text
    assert 'mlx_probe_state{state="running"} 1.0' in text
    assert "mlx_probe_alerts 1.0" in text
    assert 'kind="test"' in text
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert served <= set(metric_names())
    with pytest.raises(OSError, match="refused"):
        metrics(port)


def test_a_port_that_is_taken_is_refused(tmp_path):
    pytest.importorskip("prometheus_client")
    port = free_port()
    with (
        watching(tmp_path, prometheus=port),
        pytest.raises(ConfigError, match=f"port {port}"),
        watching(tmp_path, prometheus=port),
    ):
        pass


def test_prometheus_without_its_package_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with (
        pytest.raises(ConfigError, match="prometheus-client") as refusal,
        watching(tmp_path, prometheus=free_port()),
    ):
        pass
    assert "mlx-probe[prometheus]" in refusal.value.remedy


def test_the_dashboard_of_grafana_asks_for_what_is_served():
    import re

    path = CONFIGS / "grafana-dashboard.json"
    dashboard = json.loads(path.read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(rf"{PREFIX}\w+", query)}
    assert len(queries) >= len(dashboard["panels"]) >= 10
    # Of a histogram its parts are asked.
    asked = {name.removesuffix("_bucket") for name in asked}
    assert asked <= {*metric_names(), *served_names()}
    # And each query is about something.
    assert all(PREFIX in query for query in queries)
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
