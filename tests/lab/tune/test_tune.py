"""From conversations to an adapter: what is there in the end, and the same bits after a stop."""

import json
import subprocess
import time

import pytest
from repetitions import LONG
from tinymodel import COMMAND
from tuning import SMALL, conversation, recipe, results_of, write_data

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.train import loop
from mlx_probe.lab.train.step import TrainStep
from mlx_probe.lab.tune import memory
from mlx_probe.lab.tune.plan import plan_tuning
from mlx_probe.lab.tune.tune import tune


@pytest.fixture(scope="module")
def undisturbed(talker, talks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return tune(recipe(), talker, talks, folder, device="cpu")


def test_what_is_there(undisturbed, talker, talks):
    run, meta = undisturbed.folder, undisturbed.meta
    assert undisturbed.passed
    assert meta["kind"] == "tune"
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["fine_tune_type"] == "lora"
    assert config["lora_parameters"]["scale"] == 2.0
    assert meta["final"]["val_loss"] < meta["initial"]["val_loss"] - 0.05
    assert meta["memory"]["total"] > meta["learned_parameters"] * 16
    assert (run / "recipe.yaml").is_file()
    assert {path.name for path in (run / "snapshots").iterdir()} == {"step-1", "step-3", "step-6"}
    loaded = load_model(run)
    assert loaded.name == str(run)
    assert tune(recipe(), talker, talks, run).meta["created_at"] == meta["created_at"]


class Killed(BaseException):
    """What a test kills a run with: nothing in the program expects it."""


VARIANTS = (
    ("method=dora",),
    ("method=full", "dropout=0"),
    ("accumulation=2", "gradient_checkpointing=true"),
    ("optimizer=muon", "muon_learning_rate=1e-2"),
    ("layers=1", 'ranks=["*.q_proj=4"]'),
)
# Of a variant one of the two steps, in turn; both with `--long`.
KILLED = [
    pytest.param(changes, call, marks=() if (number + call // 4) % 2 else LONG)
    for number, changes in enumerate(VARIANTS)
    for call in (2, 6)
]


@pytest.mark.parametrize(("changes", "call"), KILLED)
def test_killed_runs_go_on_with_the_same_bits(talker, talks, tmp_path, monkeypatch, changes, call):
    wanted = tune(recipe(*changes), talker, talks, tmp_path / "a", device="cpu")
    make, count = TrainStep.__call__, 0

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == call:
            raise Killed
        return make(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", dies)
        with pytest.raises(Killed):
            tune(recipe(*changes), talker, talks, tmp_path / "b", device="cpu")
    run = tune(recipe(*changes), talker, talks, tmp_path / "b", device="cpu")
    assert results_of(run.folder) == results_of(wanted.folder)


def test_differences_of_the_matrices(talker, talks, tmp_path):
    run = tune(recipe("compare=last", "steps=2"), talker, talks, tmp_path / "run", device="cpu")
    assert run.meta["differences"] == {"snapshots": [1, 2], "compared": [2], "failed": {}}
    import pyarrow.parquet as parquet

    table = parquet.read_table(run.folder / "differences_over_time.parquet").to_pylist()
    changed = [row for row in table if row["status"] == "ok"]
    assert len(changed) == 14
    assert all(0 < row["delta_rank"] <= 2 for row in changed)


@pytest.mark.parametrize("place", ["", "adapter"])
def test_an_adapter_is_no_base(undisturbed, talks, tmp_path, place):
    with pytest.raises(ConfigError, match="is an adapter") as caught:
        tune(recipe(), undisturbed.folder / place, talks, tmp_path / "run", device="cpu")
    assert "mlx-probe merge" in caught.value.remedy


def test_other_settings_need_another_folder(undisturbed, talker, talks):
    with pytest.raises(ResultError, match="finished run"):
        tune(recipe("seed=1"), talker, talks, undisturbed.folder, device="cpu")


def test_what_does_not_fit_is_refused_with_what_to_change(talker, talks, tmp_path, monkeypatch):
    needed = plan_tuning(recipe("batch=8"), talker, talks, "cpu")
    assert needed.fits
    small = plan_tuning(recipe("batch=1"), talker, talks, "cpu").memory.total
    monkeypatch.setattr(memory, "available_memory", lambda gpu: small + 1000)
    plan = plan_tuning(recipe("batch=8"), talker, talks, "cpu")
    assert not plan.fits
    assert plan.remedy.startswith("Set train.")
    with pytest.raises(ConfigError, match="a step needs") as caught:
        tune(recipe("batch=8"), talker, talks, tmp_path / "run", device="cpu")
    assert caught.value.remedy.startswith("Set train.")
    monkeypatch.setattr(memory, "available_memory", lambda gpu: 1000)
    assert "smaller model" in plan_tuning(recipe(), talker, talks, "cpu").remedy


def test_left_out_conversations_are_named(talker, tmp_path):
    data = write_data(tmp_path / "data", ["{", conversation(1), conversation(2)])
    run = tune(recipe("steps=1"), talker, data, tmp_path / "run", device="cpu")
    (line,) = (run.folder / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "no conversation"


def test_settings_that_do_not_fit_together():
    with pytest.raises(ConfigError, match="of adapters"):
        recipe("method=full")
    with pytest.raises(ConfigError, match="none in tuning"):
        recipe("weight_decay_policy=alpha")
    with pytest.raises(ConfigError, match="ranks cannot be"):
        recipe("ranks=[q_proj]")


def test_numbers_that_are_not_finite(talker, talks, tmp_path):
    with pytest.raises(loop.Diverged, match="learning_rate") as caught:
        tune(recipe("learning_rate=1e30", "clip=0"), talker, talks, tmp_path / "r", device="cpu")
    assert "--init" not in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("checkpointed", ["true", "false"])
def test_compiled_steps_have_the_same_losses(talker, talks, tmp_path, checkpointed):
    """Also with dropout, whose keys go through the compiled function, and other shapes."""
    runs = [
        tune(
            recipe(f"compile={name}", f"gradient_checkpointing={checkpointed}", "accumulation=2"),
            talker, talks, tmp_path / name, device="cpu",
        )
        for name in ("always", "never")
    ]  # fmt: skip
    if not runs[0].meta["compiled"]:
        pytest.skip(runs[0].meta["compile_reason"])
    first, second = (results_of(run.folder)[1] for run in runs)
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [4])
def test_a_killed_command_goes_on_with_the_same_bits(talker, talks, tmp_path, lines):
    def command(name):
        settings = [word for change in SMALL for word in ("--set", change)]
        where = ["--data", talks, "--out", tmp_path / name, "--device", "cpu", "--quiet"]
        return [COMMAND, "tune", talker, *where, *settings]

    subprocess.run(command("a"), check=True)
    process = subprocess.Popen(command("b"))
    metrics = tmp_path / "b" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    subprocess.run(command("b"), check=True)
    assert results_of(tmp_path / "a") == results_of(tmp_path / "b")


def test_views_of_a_tuning(undisturbed):
    """It is checked and drawn as a training is."""
    from mlx_probe.analysis.validate import validate
    from mlx_probe.report.html.write import write_report
    from mlx_probe.runs.training.run import load_training_run

    assert [check for check in validate(undisturbed.folder) if not check.passed] == []
    read = load_training_run(undisturbed.folder)
    assert (read.state, read.steps_done) == ("finished", 6)
    page = write_report(undisturbed.folder).read_text()
    assert "talker" in page
