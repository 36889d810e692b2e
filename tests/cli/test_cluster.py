"""`mlx-probe cluster check`: what it prints, and its exit code."""

import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from models import invoke, refuses

from mlx_probe.analysis.cluster import connection
from mlx_probe.analysis.cluster.facts import gather_facts
from mlx_probe.analysis.cluster.survey import Survey, Surveyed
from mlx_probe.analysis.cluster.workers import Worker
from mlx_probe.cli.cluster import check

ADDRESS = "tcp://127.0.0.1:8786"
FACTS = replace(
    gather_facts("numpy", "cpu"),
    host="studio",
    memory=96_000_000_000,
    calibration={"copy_bandwidth": 61e9, "product_rate": 40.26e9},
)
GOOD = Surveyed(Worker("mac1", "studio", "tcp://10.0.0.1:4000", 2, 64_000_000_000), FACTS)
BAD = Surveyed(
    Worker("mac2", "10.0.0.2", "tcp://10.0.0.2:4000", 1, None),
    problem=("it has no mlx-probe", "Run `pip install mlx-probe` there"),
)


@pytest.fixture
def shown(monkeypatch):
    """The result of the command where a survey has shown something."""

    def show(survey, *options, **environment):
        monkeypatch.setattr(check, "_survey", lambda config, request: survey)
        return invoke("cluster", "check", ADDRESS, *options, COLUMNS="100", **environment)

    return show


def test_a_cluster_that_may_begin(shown):
    result = shown(Survey((GOOD,), "owner/model"))
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith(" mac1"))
    for cell in ("studio", FACTS.python, "numpy (cpu)", "96.0 GB", "64.0 GB", "61.0", "40.3"):
        assert f" {cell}" in line
    assert "1 of 1 workers may take part; weights at once: 2" in result.stdout
    assert "their copies of owner/model are the same as here" in result.stdout


def test_a_refused_worker_is_named_with_its_remedy(shown):
    result = shown(Survey((GOOD, BAD)))
    refuses(result, "1 of 2 workers would be refused")
    assert "refused worker mac2 (tcp://10.0.0.2:4000): it has no mlx-probe" in result.stdout
    assert "Run `pip install mlx-probe` there" in result.stdout
    assert "1 of 2 workers may take part; weights at once: 2" in result.stdout


def test_what_is_unlike_says_what_that_means(shown):
    result = shown(Survey((GOOD,), None, ("versions of numpy differ: 1 (a); 2 (b)",)))
    assert result.exit_code == 0
    assert "versions of numpy differ: 1 (a); 2 (b)" in result.stdout
    assert "last digits may differ" in result.stdout


def test_in_chinese(shown):
    result = shown(
        Survey((GOOD, BAD), None, ("versions of numpy differ: 1 (a)",)), MLX_PROBE_LANG="zh"
    )
    assert "numpy 版本不同：1（a）" in result.stdout
    assert "工作进程 mac2（tcp://10.0.0.2:4000）" in result.stdout
    assert "它没有安装 mlx-probe" in result.stdout


def test_no_workers(shown):
    refuses(shown(Survey(())), "the cluster has no worker")


def test_options_about_a_model_need_one():
    for option in (["--full-hash"], ["--model-path-on-workers", "x"], ["--revision", "main"]):
        result = invoke("cluster", "check", ADDRESS, *option)
        refuses(result, "are about a model", "--model MODEL", code=2)


def test_a_machine_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    result = invoke("cluster", "check", ADDRESS)
    refuses(result, "a cluster needs the package dask", "pip install 'mlx-probe[cluster]'", code=2)


def test_no_scheduler_at_an_address(monkeypatch):
    monkeypatch.setattr(connection, "_REACHED", 0.2)
    result = invoke("cluster", "check", "tcp://127.0.0.1:9")
    refuses(result, "tcp://127.0.0.1:9 does not answer", "`dask scheduler`", "firewall")
    assert "no program listens at that port" in result.stderr


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (None, "gives no greeting of Dask"),
        (b"HTTP/1.0 400 Bad Request\r\nServer: x\r\n\r\n", "no scheduler of Dask"),
    ],
)
def test_a_port_of_another_server(monkeypatch, greeting, reason):
    monkeypatch.setattr(connection, "_REACHED", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def answer():
            with suppress(OSError):
                connections.append(server.accept()[0])
                if greeting is not None:
                    connections[0].sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        result = invoke("cluster", "check", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
        for each in connections:
            each.close()
    refuses(result, reason)
