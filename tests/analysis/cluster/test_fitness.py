"""Who may take part, who is refused and with which remedy, and what merely differs."""

from dataclasses import replace

import pytest

from mlx_probe.analysis.cluster.facts import gather_facts
from mlx_probe.analysis.cluster.fitness import refusal, unlike
from mlx_probe.analysis.cluster.workers import Worker, workers_of
from mlx_probe.compute import calibration


@pytest.fixture(scope="module")
def own():
    return gather_facts("numpy", "auto")


def test_the_same_process_may_take_part(own):
    for wanted in ("auto", "numpy"):
        assert refusal(own, own, wanted) is None


@pytest.mark.parametrize(
    ("changes", "wanted", "fact", "remedy"),
    [
        ({"code_version": "0.0.9"}, "auto", "mlx-probe 0.0.9", "pip install mlx-probe=="),
        ({"sources": "0" * 64}, "auto", "other sources", "the same build"),
        ({"backend": "mlx"}, "numpy", "computes with mlx, not with numpy", "--backend auto"),
        ({"backend": None, "backend_reason": "why", "backend_remedy": "how"}, "mlx", "why", "how"),
    ],
)
def test_a_worker_is_refused_with_a_remedy(own, changes, wanted, fact, remedy):
    said = refusal(replace(own, **changes), own, wanted)
    assert fact in said[0]
    assert remedy in said[1]


def test_facts_of_another_version_need_not_have_all_fields(own):
    older = replace(own, code_version="0.0.9")
    for name in vars(own).keys() - {"code_version"}:
        vars(older).pop(name)
    assert "0.0.9" in refusal(older, own, "auto")[0]


@pytest.mark.parametrize("name", ["BACKEND", "DEVICE"])
def test_a_variable_that_names_nothing_is_a_fact(monkeypatch, own, name):
    monkeypatch.setenv(f"MLX_PROBE_ANALYZE_{name}", "quantum")
    facts = gather_facts("auto", "auto")
    assert facts.backend is None
    assert f"MLX_PROBE_ANALYZE_{name} is 'quantum'" in refusal(facts, own, "auto")[0]


def test_a_worker_has_its_own_answer_to_auto(monkeypatch):
    monkeypatch.setenv("MLX_PROBE_ANALYZE_BACKEND", "mlx")
    monkeypatch.setenv("MLX_PROBE_ANALYZE_DEVICE", "cpu")
    assert gather_facts("auto", "auto").backend == "mlx"
    assert gather_facts("numpy", "auto").backend == "numpy"


def test_a_backend_that_is_not_there_is_a_fact_with_a_remedy():
    facts = gather_facts("numpy", "gpu")
    assert facts.backend is None
    assert "CPU only" in facts.backend_reason
    assert facts.backend_remedy


def test_rates_are_there_if_asked_for(monkeypatch, own):
    assert own.calibration is None
    monkeypatch.setattr(calibration, "_known", {})
    rates = gather_facts("numpy", "cpu", calibrate=True).calibration
    assert rates["copy_bandwidth"] > 0
    assert rates["product_rate"] > 0


def test_equal_workers_are_not_unlike(own):
    assert unlike([own, replace(own, host="b", pid=1, process_memory=1)]) == []
    assert unlike([]) == []


def test_what_is_unlike_names_values_and_hosts(own):
    other = replace(own, host="studio", python="3.10.2", packages={**own.packages, "numpy": "1.26"})
    said = unlike([own, own, other])
    assert said == [
        f"versions of numpy differ: {own.packages['numpy']} ({own.host}); 1.26 (studio)",
        f"versions of Python differ: {own.python} ({own.host}); 3.10.2 (studio)",
    ]


@pytest.mark.parametrize(
    ("worker", "label"),
    [
        (("mac2", "studio-2", "tcp://10.0.0.2:4"), "worker mac2 (studio-2, tcp://10.0.0.2:4)"),
        (("mac2", "10.0.0.2", "tcp://10.0.0.2:4"), "worker mac2 (tcp://10.0.0.2:4)"),
        (("tcp://10.0.0.2:4", "m", "tcp://10.0.0.2:4"), "worker tcp://10.0.0.2:4 (m)"),
        (("tcp://10.0.0.2:4", "10.0.0.2", "tcp://10.0.0.2:4"), "worker tcp://10.0.0.2:4"),
    ],
)
def test_a_worker_has_one_label(worker, label):
    assert Worker(*worker, 1, None).label == label


def test_workers_of_what_the_scheduler_says():
    said = {"name": 0, "host": "10.0.0.2", "nthreads": 2, "resources": {"MEMORY": 8e9}}
    said |= {"memory_limit": 0}
    silent = {**said, "name": "b", "resources": {}, "memory_limit": 4_000_000_000}
    assert workers_of({"tcp://a": said, "tcp://b": silent}) == [
        Worker("0", "10.0.0.2", "tcp://a", 2, 8_000_000_000),
        Worker("b", "10.0.0.2", "tcp://b", 2, None, 4_000_000_000),
    ]
