"""--log-to: what a training's loggers have is what metrics.jsonl has, whatever happens."""

import csv
import json
from importlib import import_module

import pytest
from models import invoke
from training import RECIPE, Killed, kill, results_of

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.settings import settings_to_yaml
from mlx_probe.lab.train import step_lines
from mlx_probe.lab.train.logged import logged_progress
from mlx_probe.lab.train.progress import Silent
from mlx_probe.lab.train.train import train
from mlx_probe.runs.exporters import EXPORTERS, Exporter, live
from mlx_probe.runs.exporters.exported import read_exported
from mlx_probe.runs.exporters.live import parse_target

pytestmark = pytest.mark.slow


class Warned(Silent):
    def __init__(self):
        self.texts = []

    def alert(self, text, is_warning):
        self.texts.append(text)


def logged(folder, tokens, targets, progress=None):
    progress = logged_progress(progress or Silent(), targets, folder)
    return train(RECIPE, folder, data=[tokens], device="cpu", progress=progress)


def leave(logs):
    """Ends as a kill does: files are closed, and nothing more is written."""
    for each in logs._open.values():
        if hasattr(each, "_file"):
            each._file.close()


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_logs_of_a_killed_training_have_each_step_once(tmp_path, tokens, undisturbed, monkeypatch):
    folder = tmp_path / "run"
    targets = [parse_target(f"{each}={tmp_path / each}") for each in ("csv", "trackio")]
    # The line is written, and no logger has it; nothing is closed.
    with monkeypatch.context() as patch:
        kill(patch, step_lines.StepLines, "append", 11, after=True)
        patch.setattr(live.LiveLogs, "end", leave)
        with pytest.raises(Killed):
            logged(folder, tokens, targets)
    logged(folder, tokens, targets)
    assert results_of(folder) == undisturbed
    run = read_exported(folder)
    with (tmp_path / "csv" / run.slug / "metrics.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    assert rows == lines_of(folder)
    EXPORTERS["csv"].write(run, tmp_path / "again")
    for name in ("metrics.csv", "run.csv"):
        one, other = (tmp_path / each / run.slug / name for each in ("csv", "again"))
        assert name == "metrics.csv" or one.read_bytes() == other.read_bytes()
    from mlx_probe.runs.exporters import trackio

    with trackio._storage(tmp_path / "trackio") as storage:
        logs = storage.get_logs("mlx-probe", run.name, run_id=trackio._ids(storage, run)[0])
    for entry in logs:
        entry.pop("timestamp")
    assert logs[:-1] == lines_of(folder)
    assert logs[-1]["final/val_loss"] == run.finals["val_loss"]


class Failing:
    """A logger that fails in one of its calls."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def open_log(self, run, out):
        if self.at == "open":
            raise RuntimeError("no room")
        return self

    def log(self, values):
        self.calls += 1
        if self.at == "log" and self.calls > 3:
            raise OSError(28, "No space left on device")

    def close(self, run):
        if self.at == "close":
            raise ValueError("closed")


@pytest.mark.parametrize("at", ["open", "log", "close"])
def test_a_logger_that_fails_warns_once_and_training_goes_on(
    tmp_path, tokens, undisturbed, monkeypatch, at
):
    failing = Failing(at)
    monkeypatch.setitem(EXPORTERS, "failing", Exporter("", lambda run, out: out, failing.open_log))
    progress = Warned()
    targets = [parse_target("failing"), parse_target(f"csv={tmp_path / 'csv'}")]
    run = logged(tmp_path / "run", tokens, targets, progress)
    assert run.passed
    assert results_of(tmp_path / "run") == undisturbed
    (text,) = [text for text in progress.texts if "no longer logged" in text]
    assert "training is no longer logged to failing: " in text
    assert f"`mlx-probe runs export {tmp_path / 'run'} --to failing`" in text
    assert failing.calls == {"open": 0, "log": 4, "close": 13}[at]
    # The other logger has everything.
    (path,) = (tmp_path / "csv").glob("*/metrics.csv")
    assert len(path.read_text().splitlines()) == 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorbord", "Did you mean 'tensorboard'"),
        ("excel", "Choose one of tensorboard, trackio, mlflow, csv"),
        ("wandb", "mlx-probe runs export RUN --to wandb"),
        ("csv=", "names no folder"),
    ],
)
def test_what_cannot_follow_a_training_is_refused_before_it_begins(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_target(text)


def test_the_command_logs(tmp_path, tokens):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(settings_to_yaml(RECIPE))
    words = ("train", "--config", recipe, "--data", tokens, "--out", tmp_path / "run", "-q")
    where = f"csv={tmp_path / 'csv'}"
    result = invoke(*words, "--device", "cpu", "--log-to", where, "--log-to", where)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "csv").glob("run-*/metrics.csv")
    assert len(path.read_text().splitlines()) == 14
    refused = invoke(*words, "--log-to", "tensorbord")
    assert refused.exit_code == 2
    assert "Did you mean 'tensorboard'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "function"),
    [
        (("tune", "m", "--data", "{here}", "--out", "o"), "mlx_probe.lab.tune.tune:tune"),
        (("moe", "train", "m", "--out", "o"), "mlx_probe.lab.moe.train.train:train_mixture"),
    ],
)
def test_other_trainings_log_too(tmp_path, monkeypatch, words, function):
    module, _, name = function.partition(":")
    given = {}

    def taken(*arguments, **settings):
        given.update(settings)
        raise ConfigError("enough", "Nothing")

    monkeypatch.setattr(import_module(module), name, taken)
    where = f"csv={tmp_path / 'csv'}"
    result = invoke(*(word.format(here=tmp_path) for word in words), "--log-to", where)
    assert "enough" in result.stderr
    assert [target.name for target in given["progress"]._logs._targets] == ["csv"]
