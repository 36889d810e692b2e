import json
import math

import pytest

from mlx_probe.compute import calibration as module
from mlx_probe.compute.calibration import Calibration, load_calibration
from mlx_probe.compute.solver_crossover import EigenSolvers, SolverTimes, crossover

APART = module._measure_apart
RACE = {"side": 1024, "one_stage": 1.0, "two_stage": 1.0}
RACES = (
    SolverTimes(1024, 1.0, 1.2, 0.5),
    SolverTimes(2048, 8.0, 8.4, 5.0),
    SolverTimes(4096, 64.0, 48.6, 49.0),
)


class Machine:
    """Counts measurements and takes no time for them."""

    def __init__(self, monkeypatch):
        self.rates = self.races = 0
        self._patch = monkeypatch
        monkeypatch.setattr(module, "_copy_bandwidth", self._measure_rate)
        monkeypatch.setattr(module, "_product_rate", lambda: 5e10)
        monkeypatch.setattr(module, "race", self._measure_race)
        monkeypatch.setattr(module.lapack, "has_two_stage", lambda: True)
        monkeypatch.setattr(module, "_measure_apart", module.measure)
        self.forget()

    def _measure_rate(self):
        self.rates += 1
        return 1e10 + self.rates

    def _measure_race(self, cores):
        assert cores >= 1
        self.races += 1
        return RACES

    def forget(self):
        """As a new process would."""
        self._patch.setattr(module, "_known", {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def machine(monkeypatch, folder):
    return Machine(monkeypatch)


def only_file(folder):
    (path,) = (folder / "calibration").iterdir()
    return path


def test_nothing_is_measured_unasked(machine, folder):
    assert load_calibration() == Calibration(module.this_machine())
    assert (machine.rates, machine.races) == (0, 0)
    assert list(folder.iterdir()) == []


def test_parts_are_measured_apart_and_once(machine, folder):
    rates = load_calibration(rates=True)
    assert (rates.copy_bandwidth, rates.product_rate, rates.solver_times) == (1e10 + 1, 5e10, ())
    machine.forget()
    assert module.eigen_solvers().two_stage_from == crossover(RACES)
    machine.forget()
    whole = load_calibration(rates=True, solvers=True)
    assert whole == Calibration(module.this_machine(), 1e10 + 1, 5e10, RACES)
    assert (machine.rates, machine.races) == (1, 1)
    assert json.loads(only_file(folder).read_text()) == {
        "machine": module.this_machine(),
        "copy_bandwidth": 1e10 + 1,
        "product_rate": 5e10,
        "solver_times": [
            {
                "side": t.side,
                "one_stage": t.one_stage,
                "two_stage": t.two_stage,
                "native": t.native,
            }
            for t in RACES
        ],
    }


def test_the_description_is_json_and_has_the_crossover(machine):
    described = load_calibration(rates=True, solvers=True).describe()
    assert json.loads(json.dumps(described)) == json.loads(json.dumps(described, allow_nan=False))
    assert described["two_stage_from"] == crossover(RACES)
    assert described["lapack_from"] == 4096
    assert described["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: "",
        lambda entry: "{",
        lambda entry: "[]",
        lambda entry: "{}",
        lambda entry: json.dumps({**entry, "machine": {}}),
        lambda entry: json.dumps({**entry, "copy_bandwidth": -1.0}),
        lambda entry: json.dumps({**entry, "copy_bandwidth": "fast"}),
        lambda entry: json.dumps({**entry, "product_rate": math.nan}),
        lambda entry: json.dumps({**entry, "product_rate": math.inf}),
        lambda entry: json.dumps({**entry, "solver_times": None}),
        lambda entry: json.dumps({**entry, "solver_times": [{"side": 1024}]}),
        lambda entry: json.dumps({**entry, "solver_times": [{**RACE, "one_stage": 0}]}),
        lambda entry: json.dumps({**entry, "solver_times": [{**RACE, "native": 0}]}),
    ],
)
def test_a_damaged_file_is_measured_again(machine, folder, damage):
    load_calibration(rates=True)
    path = only_file(folder)
    sound = path.read_text()
    path.write_text(damage(json.loads(sound)))
    machine.forget()
    assert load_calibration(rates=True).copy_bandwidth == 1e10 + 2
    assert json.loads(only_file(folder).read_text()).keys() == json.loads(sound).keys()


def test_a_binary_file_is_measured_again(machine, folder):
    load_calibration(rates=True)
    only_file(folder).write_bytes(b"\xff\x00")
    machine.forget()
    assert load_calibration(rates=True).copy_bandwidth == 1e10 + 2


@pytest.mark.parametrize(
    "what", ["cpu_model", "blas_library", "usable_cores", "eigen.is_available"]
)
def test_another_machine_has_its_own_figures(machine, folder, monkeypatch, what):
    load_calibration(rates=True)
    with monkeypatch.context() as patch:
        patch.setattr(f"{module.__name__}.{what}", lambda: 77)
        assert load_calibration(rates=True).copy_bandwidth == 1e10 + 2
    machine.forget()
    assert load_calibration(rates=True).copy_bandwidth == 1e10 + 1
    assert len(list((folder / "calibration").iterdir())) == 2


def test_a_folder_that_cannot_be_written(machine, folder):
    (folder / "calibration").write_text("a file in the way")
    assert module.eigen_solvers().two_stage_from == crossover(RACES)
    # Once for a process.
    assert load_calibration(solvers=True).solver_times == RACES
    assert machine.races == 1
    assert [path.name for path in folder.iterdir()] == ["calibration"]


def test_a_full_disk_leaves_the_file_as_it_was(machine, folder, monkeypatch):
    load_calibration(rates=True)
    before = only_file(folder).read_text()

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    machine.forget()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        assert module.eigen_solvers().two_stage_from == crossover(RACES)
    assert only_file(folder).read_text() == before


def test_no_race_where_there_is_one_solver(machine, monkeypatch):
    monkeypatch.setattr(module.lapack, "has_two_stage", lambda: False)
    assert module.eigen_solvers() == EigenSolvers()
    assert machine.races == 0


def test_the_real_rates(folder, monkeypatch):
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "COPIED", 1 << 12)
    monkeypatch.setattr(module, "PRODUCT_SIDE", 8)
    result = load_calibration(rates=True)
    assert 0 < result.copy_bandwidth < math.inf
    assert 0 < result.product_rate < math.inf


def test_another_process_measures_so_that_this_one_keeps_its_memory(folder, monkeypatch):
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "measure", None)  # nothing is left to this one
    result = load_calibration(rates=True)
    assert min(result.copy_bandwidth, result.product_rate) > 0


def test_where_no_process_can_be_started_this_one_measures(machine, folder, monkeypatch):
    monkeypatch.setattr(module, "_measure_apart", APART)
    monkeypatch.setattr(module.sys, "executable", str(folder / "no python"))
    assert load_calibration(rates=True).product_rate == 5e10
    assert machine.rates == 1
