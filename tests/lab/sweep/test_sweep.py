"""Sweeps: which trials there are, and what becomes of them however often one is stopped."""

import fcntl
import operator
from pathlib import Path

import pytest
from exported_runs import training_folder
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.tasks import made_by_workers
from mlx_probe.cli.runs.sweep import check_sweep
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.sweep import sweep as module
from mlx_probe.lab.sweep.command import last_message, run_command
from mlx_probe.lab.sweep.config import SweepConfig, read_sweep
from mlx_probe.lab.sweep.journal import SweepJournal
from mlx_probe.lab.sweep.ranges import Choices, Interval
from mlx_probe.lab.sweep.records import plan_trials
from mlx_probe.lab.sweep.sweep import run_sweep

RATES = ("0.1", "0.2", "0.3", "0.4")


def rates(**changes):
    values = {"command": ("train",), "parameters": {"train.learning_rate": Choices(RATES)}}
    return SweepConfig(**{**values, **changes})


@given(
    st.sampled_from(["uniform", "loguniform", "int"]),
    st.integers(1, 1000),
    st.integers(0, 1000),
    st.integers(0, 2**32),
)
def test_what_is_drawn_is_in_its_range_and_more_trials_keep_the_first(kind, low, wide, seed):
    interval = Interval("x", kind, low, low + wide)

    def drawn(trials):
        config = rates(parameters={"x": interval}, search="random", trials=trials, seed=seed)
        return [each["x"] for each in config.settings()]

    few, more = drawn(3), drawn(7)
    assert more[:3] == few
    # Six digits of a number are rounded.
    assert all(low * (1 - 1e-5) <= float(each) <= (low + wide) * (1 + 1e-5) for each in more)
    assert kind != "int" or all(each.isdecimal() for each in more)


def test_a_grid_has_every_combination():
    config = rates(
        parameters={
            "a": Choices(("1", "2")),
            "b": Interval("b", "loguniform", 1e-4, 1e-2, 3),
            "--c": Interval("--c", "int", 1, 2),
        }
    )
    settings = list(config.settings())
    assert len(settings) == len({tuple(each.values()) for each in settings}) == 12
    assert [each["b"] for each in settings[:6:2]] == ["0.0001", "0.001", "0.01"]
    assert plan_trials(config, ROOT)[0].words(["train"])[:6] == [
        "train", "--set", "a=1", "--set", "b=0.0001", "--c=1",
    ]  # fmt: skip


def planned(path):
    config = read_sweep(path)
    trials = plan_trials(config, ROOT)
    check_sweep(config)
    return trials


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sweep").glob("*.yaml")), ids=str)
def test_the_presets_are_sweeps_of_commands_that_are_there(path):
    assert len(planned(path)) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("comand: train", r"unknown key 'comand'\n  Did you mean 'command'"),
        ("command: train", "parameters is empty"),
        ("command: train --out x\nparameters: {a: [1]}", "command has --out"),
        ("command: train\nparameters: {a: {unifrom: [0, 1]}}", "Did you mean 'uniform'"),
        ("command: train\nparameters: {a: {uniform: [0, 1], int: [0, 1]}}", "a has 2 ranges"),
        ("command: train\nparameters: {a: {uniform: [1, 0]}}", "Write the smaller one first"),
        ("command: train\nparameters: {a: {uniform: [0, .nan]}}", "no pair of numbers"),
        ("command: train\nparameters: {a: {loguniform: [0, 1]}}", "Begin above 0"),
        ("command: train\nparameters: {a: {int: [0.5, 1]}}", "no whole numbers"),
        ("command: train\nparameters: {a: {uniform: [0, 1]}}", "Add `steps: 5`"),
        ("command: train\nparameters: {a: []}", "no list of values"),
        ("command: train\nparameters: {a: [1]}\nsearch: gird", "Did you mean 'grid'"),
        ("command: train\nparameters: {a: [1]}\nsearch: random", "trials cannot be 0"),
        ("command: train\nparameters: {a: [1]}\ntrials: 3", "no meaning with search: grid"),
        ("command: train\nparameters: {a: [1]}\nmetric: beauty", "Add `direction: min`"),
        ("command: train\nparameters: {a: [1]}\nseed: x", "seed cannot be 'x'"),
        ("command: train\nparameters: {a: {int: [1, 99999]}}", "the grid has 99,999 trials"),
        ("command: trian\nparameters: {a: [1]}", "Did you mean 'train'"),
        ("command: explain\nparameters: {a: [1]}", "explain writes no run folder"),
        ("command: train\nparameters: {--watch-shar: [1]}", "Did you mean --watch-share"),
        ("command: evaluate M\nparameters: {a: [1]}", "evaluate has no option --set, for a"),
        ("- a", "is not a mapping"),
        ("a: [", "cannot read"),
    ],
)  # fmt: skip
def test_a_slip_in_the_file_is_named(tmp_path, text, message):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        planned(path)


@pytest.fixture
def trials(monkeypatch):
    """Trials are made up; `told` says how one of a rate ends: its loss, or its exit code."""
    told = {"0.1": 3.0, "0.2": 2.0, "0.3": 2.5, "0.4": 2.0}
    ran = []

    def made_up(words, log, folder, stop=None):
        rate, out = words[2].partition("=")[2], words[-1]
        ran.append(rate)
        end = told[rate]
        if isinstance(end, BaseException):
            raise end
        if isinstance(end, int):
            with Path(log).open("a") as file:
                file.write(f"trained\n\x1b[31mError: the rate {rate} is odd\n  Take another\n")
            return end, 0.5
        lines = [{"step": step, "val_loss": 4.0 - step} for step in range(3)]
        meta = {"planned_steps": 2, "steps_done": 2, "final": {"val_loss": end}}
        training_folder(Path(out), lines, fingerprint=rate, **meta)
        return (4 if rate == "0.3" else 0), 0.5

    monkeypatch.setattr(module, "run_command", made_up)
    return told, ran


def test_the_best_is_found_and_a_finished_trial_is_not_run_again(tmp_path, trials):
    _, ran = trials
    result = run_sweep(rates(), tmp_path / "s")
    assert [each.value for each in result.outcomes] == [3.0, 2.0, 2.5, 2.0]
    assert result.best.trial.number == 2
    assert run_sweep(rates(direction="max"), tmp_path / "s").best.trial.number == 1
    assert ran == list(RATES)
    # Another metric of the same runs.
    assert run_sweep(rates(metric="steps_done", direction="max"), tmp_path / "s").best.value == 2
    assert len(ran) == 4


def test_failed_trials_are_listed_and_run_again_only_when_asked(tmp_path, trials):
    told, ran = trials
    told |= {"0.1": 2, "0.2": OSError(12, "no memory")}
    result = run_sweep(rates(), tmp_path / "s", workers=2)
    assert [each.reason for each in result.failed] == [
        "the rate 0.1 is odd; Take another",
        "it could not be run: OSError(12, 'no memory')",
    ]
    assert result.best.trial.number == 4
    again = run_sweep(rates(), tmp_path / "s")
    assert [each.reason for each in again.failed] == [each.reason for each in result.failed]
    assert len(ran) == 4
    told |= {"0.1": 1.0, "0.2": 1.5}
    assert run_sweep(rates(), tmp_path / "s", retry=True).best.value == 1.0
    assert ran[4:] == ["0.1", "0.2"]
    missing = run_sweep(rates(metric="val_bpb"), tmp_path / "s")
    assert not missing.finished
    assert missing.failed[0].reason.startswith("it has no metric val_bpb; it has steps_done, ")


class Killed(BaseException):
    """Ends the sweep as a kill does: nothing is written after it."""


@pytest.mark.parametrize("at", range(5))
def test_a_killed_sweep_goes_on(tmp_path, trials, monkeypatch, at):
    _, ran = trials
    count = 0
    append = SweepJournal._append

    def append_or_die(self, entry):
        nonlocal count
        count += 1
        # A line for the sweep, then two for each trial.
        if count == 2 * at + 1:
            self._file.write(b'{"trial": 1, "sta')
            raise Killed
        append(self, entry)

    with monkeypatch.context() as patch:
        patch.setattr(SweepJournal, "_append", append_or_die)
        with pytest.raises(Killed):
            run_sweep(rates(), tmp_path / "s")
    before = list(ran)
    result = run_sweep(rates(), tmp_path / "s")
    assert [each.value for each in result.outcomes] == [3.0, 2.0, 2.5, 2.0]
    # One whose end was not written is finished by its folder.
    assert before + ran[len(before) :] == list(RATES)


def test_a_folder_of_something_else_is_refused(tmp_path, trials):
    run_sweep(rates(), tmp_path / "s")
    with pytest.raises(ResultError, match="holds a sweep of another command"):
        run_sweep(rates(command=("tune",)), tmp_path / "s")
    with (tmp_path / "s" / "sweep.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ResultError, match="another process works at"):
            run_sweep(rates(), tmp_path / "s")
    lines = (tmp_path / "s" / "sweep.jsonl").read_text()
    (tmp_path / "s" / "sweep.jsonl").write_text(lines.replace('{"trial": 2', '{"trial": ', 1))
    with pytest.raises(ResultError, match=r"sweep.jsonl, line 4, is damaged"):
        run_sweep(rates(), tmp_path / "s")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ResultError, match="mine holds other files"):
        run_sweep(rates(), tmp_path / "mine")
    training_folder(tmp_path / "run", [], fingerprint="0")
    with pytest.raises(ResultError, match="holds a run of `mlx-probe train`"):
        run_sweep(rates(), tmp_path / "run")


@pytest.mark.slow
def test_a_command_leaves_its_messages(tmp_path):
    log = tmp_path / "log"
    code, seconds = run_command(["explain", "alhpa"], str(log), str(tmp_path))
    assert code != 0
    assert 0 < seconds < 60
    assert "alpha" in last_message(log)
    assert last_message(tmp_path / "none") == ""


@pytest.mark.slow
def test_workers_of_a_cluster_make_calls():
    calls = [(1, 2), (3, 4), (1, "a")]
    ended = dict(made_by_workers(ClusterConfig("local:2"), operator.add, calls))
    assert (ended[0], ended[1]) == (3, 7)
    assert isinstance(ended[2], TypeError)
