import os
import platform
from pathlib import Path

import numpy as np
import pytest

from mlx_probe.core import machine


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6}, raising=False)
    assert machine.usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.usable_cores() == 7


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [("flags: a\nmodel name\t: Some CPU 3000\nmodel name : Other", "Some CPU 3000"), ("", "arm")],
)
def test_the_processor_by_its_name(monkeypatch, cpuinfo, expected):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: cpuinfo)
    assert machine.cpu_model() == expected


def test_a_system_that_does_not_name_its_processor(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(platform, "processor", lambda: "arm")
    for system in ("Linux", "Darwin"):
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        monkeypatch.setattr(Path, "read_text", refuse)
        monkeypatch.setattr("subprocess.run", refuse)
        assert machine.cpu_model() == "arm"


def test_blas_is_numpy_s_own_whatever_else_is_loaded(monkeypatch):
    before = machine.blas_library()
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    assert before.startswith(f"{built['name']} {built['version']}".strip())
    pools = machine.threadpool_info()
    other = {"filepath": "/lib/torch/libmkl.so", "architecture": "Other"}
    monkeypatch.setattr(machine, "threadpool_info", lambda: [other, *pools])
    assert machine.blas_library.__wrapped__() == before
