"""What Dask sets for glibc is undone, and only where it was set."""

import ctypes
import sys
from types import SimpleNamespace

from mlx_probe.analysis.cluster.allocator import as_by_itself


def thresholds(monkeypatch, platform="linux"):
    calls = {}
    library = SimpleNamespace(mallopt=calls.__setitem__)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    as_by_itself()
    return calls


def test_thresholds_are_set_where_dask_changed_them(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert thresholds(monkeypatch) == {}
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert thresholds(monkeypatch, "darwin") == {}
    assert thresholds(monkeypatch) == {-3: 32 << 20, -1: 64 << 20}


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    as_by_itself()
