"""The comparison itself, with contenders that take exactly as long as they say."""

import os
import sys
from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mlx_probe.analysis.bench import race as bench
from mlx_probe.analysis.bench.methods import CONTENDERS, Contender, Prepared, Summary
from mlx_probe.analysis.bench.race import Result, compare
from mlx_probe.analysis.bench.workload import matrix_of, synthetic_model, workload_of
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.errors import BackendError


class Race:
    """A clock, contenders that advance it, and the order in which they had their turns."""

    def __init__(self, monkeypatch):
        self.now, self.turns, self._table = 0.0, [], {}
        monkeypatch.setattr(bench.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(bench, "CONTENDERS", self._table)

    def enter(self, name, seconds, summaries, fails_at=None):
        left = cycle(seconds)

        def spectra(workload):
            self.turns.append(name)
            if self.turns.count(name) == fails_at:
                raise BackendError(f"{name} broke", "Mend it")
            if self.turns.count(name) > 1:  # the first is the warm-up
                self.now += next(left)
            return summaries

        self._table[name] = Contender("", "numpy", lambda: Prepared(spectra, f"gpu: {name}"))


@pytest.fixture
def race(monkeypatch):
    return Race(monkeypatch)


@pytest.fixture
def workload():
    with synthetic_model([(6, 4)], "F32") as checkpoint:
        yield workload_of(checkpoint)


@pytest.mark.parametrize(("shape", "asked"), [((1023, 2000), 0), ((1024, 1024), 1)])
def test_the_calibration_is_made_before_the_clock_runs(race, monkeypatch, shape, asked):
    calls = []
    monkeypatch.setattr(bench, "eigen_solvers", lambda: calls.append(len(race.turns)))
    race.enter("only", [1.0], REFERENCE)
    with synthetic_model([shape], "BF16") as checkpoint:
        compare(workload_of(checkpoint), (), 1)
    assert calls == [1] * asked


REFERENCE = {"a": Summary(10.0, 4.0, 3), "b": Summary(8.0, 2.0, 5), "c": Summary(0.0, 0.0, 0)}


def test_turns_medians_and_ratios(race, workload):
    race.enter("slow", [4.0, 9.0, 2.0], REFERENCE)
    race.enter("fast", [1.0, 1.0, 7.0], REFERENCE)
    names = []
    slow, fast = compare(workload, (), 3, names.append).results
    assert race.turns == ["slow", "fast"] * 4
    assert names == ["slow", "fast"] * 3
    assert slow == Result("slow", np.__version__, "gpu: slow", (4.0, 9.0, 2.0), 1.0, 3, 0.0, 0.0, 3)
    assert (fast.seconds, fast.ratio) == ((1.0, 1.0, 7.0), 0.25)


def test_the_first_that_is_named_is_the_reference(race, workload):
    for name, seconds in {"a": 1.0, "b": 2.0, "c": 3.0}.items():
        race.enter(name, [seconds], REFERENCE)
    results = compare(workload, ("c", "a"), 1).results
    assert [(r.name, r.ratio) for r in results] == [("c", 1.0), ("a", pytest.approx(1 / 3))]
    assert "b" not in race.turns


def test_agreement(race, workload):
    race.enter("reference", [1.0], REFERENCE)
    race.enter("other", [1.0], {**REFERENCE, "a": Summary(10.0, 5.0, 3), "b": Summary(6.0, 2.0, 4)})
    race.enter("part", [1.0], {"b": Summary(None, 1.0, None), "z": Summary(1.0, 1.0, 1)})
    race.enter("nothing", [1.0], {})
    _, other, part, nothing = compare(workload, (), 1).results
    assert (other.compared, other.sum_difference, other.largest_difference) == (3, 0.25, 0.2)
    assert other.equal_ranks == 2
    assert (part.compared, part.sum_difference, part.largest_difference) == (1, None, 0.5)
    assert part.equal_ranks is None
    assert (nothing.compared, nothing.largest_difference) == (0, None)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_who_cannot_run_is_left_out_unless_named(race, workload, fails_at):
    race.enter("broken", [1.0] * 3, REFERENCE, fails_at)
    race.enter("sound", [2.0] * 3, REFERENCE)
    comparison = compare(workload, (), 3)
    assert [(r.name, r.ratio) for r in comparison.results] == [("sound", 1.0)]
    assert comparison.left_out == {"broken": "broken broke. Mend it"}
    race.turns.clear()
    with pytest.raises(BackendError, match="broken broke"):
        compare(workload, ("sound", "broken"), 3)


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "weightwatcher"])
def test_every_contender_finds_the_singular_values(model, name):
    if name == "native" and native.used().keys() != native.LIBRARIES.keys():
        pytest.skip("needs compiled kernels")
    contender = CONTENDERS[name].prepare()
    with open_checkpoint(model) as checkpoint:
        workload = workload_of(checkpoint)
        summaries = contender.spectra(workload)
        close = 1e-5 if name == "torch-f32" else 1e-9
        for weight in workload.weights:
            sigma = np.linalg.svd(matrix_of(weight, np.float64), compute_uv=False)
            summary = summaries[weight.label]
            assert summary.sum == pytest.approx(sigma.sum(), rel=close)
            assert summary.largest == pytest.approx(sigma[0], rel=close)
            assert summary.rank == np.count_nonzero(sigma > 1e-6 * sigma[0])


class WeightWatcher:
    """As much of its interface as is used; like the real one it passes over what it dislikes."""

    def __init__(self, model):
        self._layers = list(model.named_children())

    def analyze(self, min_evals):
        print("progress of its own")
        rows = []
        for name, layer in self._layers:
            matrix = layer.weight.numpy()
            if min_evals <= min(matrix.shape) and matrix.any():
                rows.append({"longname": name, "sv_max": np.linalg.norm(matrix, 2)})
        return pd.DataFrame(rows[::-1])


def test_weightwatcher_s_table_is_read_by_its_names(model, monkeypatch, capsys):
    fake = SimpleNamespace(WeightWatcher=WeightWatcher)
    monkeypatch.setitem(sys.modules, "weightwatcher", fake)
    contender = CONTENDERS["weightwatcher"].prepare()
    with open_checkpoint(model) as checkpoint:
        workload = workload_of(checkpoint)
        summaries = contender.spectra(workload)
        expected = {w.label: np.linalg.norm(matrix_of(w, np.float64), 2) for w in workload.weights}
    assert expected.pop("lm_head.weight") == 0
    assert summaries == {
        label: Summary(None, pytest.approx(largest, rel=1e-5), None)
        for label, largest in expected.items()
    }
    assert capsys.readouterr().out == ""


def test_a_failure_of_weightwatcher_is_no_traceback(workload, monkeypatch):
    class Broken(WeightWatcher):
        def analyze(self, min_evals):
            raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(sys.modules, "weightwatcher", SimpleNamespace(WeightWatcher=Broken))
    contender = CONTENDERS["weightwatcher"].prepare()
    with pytest.raises(BackendError, match="WeightWatcher failed: ZeroDivisionError: by nothing"):
        contender.spectra(workload)


@pytest.mark.parametrize("name", ["torch-f32", "torch-f64", "weightwatcher"])
def test_a_package_that_is_not_installed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match="torch is not installed"):
        CONTENDERS[name].prepare()


def test_a_package_that_is_broken(monkeypatch, tmp_path):
    (tmp_path / "weightwatcher.py").write_text("raise ImportError('wrong version')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match="weightwatcher cannot be imported: wrong version"):
        CONTENDERS["weightwatcher"].prepare()


def test_every_backend_is_a_contender():
    assert set(BACKENDS) < set(CONTENDERS)


@pytest.mark.parametrize("name", ["native", "numpy"])
@pytest.mark.parametrize("setting", [None, "1"])
def test_kernels_compute_for_one_contender_and_not_for_the_other(
    workload, monkeypatch, name, setting
):
    monkeypatch.delenv(native.VARIABLE, raising=False)
    if setting:
        monkeypatch.setenv(native.VARIABLE, setting)
    if native.used().keys() != native.LIBRARIES.keys():
        pytest.skip("needs compiled kernels")
    used = []

    # Asked for in the threads that compute.
    def elements_pass(self, *arguments, **options):
        used.append(native.library("elements") is not None)
        return element_pass(self, *arguments, **options)

    element_pass = NumpyBackend.element_pass
    monkeypatch.setattr(NumpyBackend, "element_pass", elements_pass)
    CONTENDERS[name].prepare().spectra(workload)
    assert used == [name == "native"]
    assert os.environ.get(native.VARIABLE) == setting


def test_without_kernels_native_says_what_to_do(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "0")
    with pytest.raises(BackendError, match="eigen: MLX_PROBE_NATIVE is 0") as refusal:
        CONTENDERS["native"].prepare()
    assert refusal.value.remedy == "Unset MLX_PROBE_NATIVE"
