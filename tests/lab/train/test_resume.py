import os
import resource
import signal

import pytest
from training import RECIPE, Killed, kill, metrics_of, results_of

from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.lab.train import checkpoint, evaluation, loop, samples, step, step_lines
from mlx_probe.lab.train.progress import Silent
from mlx_probe.lab.train.train import train

pytestmark = pytest.mark.slow


# Checkpoints are at steps 3, 6, 9 and 12, evaluations at 0, 4, 8 and 12, samples at 0, 5, 10, 12.
MOMENTS = {
    "before the first checkpoint": (step.TrainStep, "__call__", 3, False),
    "during a step": (step, "set_rates", 8, False),
    "after an update": (step.TrainStep, "__call__", 8, True),
    "during an evaluation": (evaluation.Evaluator, "_forward", 5, False),
    "before a line of metrics": (step_lines.StepLines, "append", 11, False),
    "after a line of metrics": (step_lines.StepLines, "append", 11, True),
    "during a sample": (samples, "sample_tokens", 3, False),
    "weights of a checkpoint are written": (checkpoint, "write_tensors", 5, True),
    "a checkpoint has no state yet": (checkpoint, "_write_flushed", 3, False),
    "before old checkpoints are deleted": (checkpoint, "_delete_old", 3, False),
    "the last checkpoint is written": (loop.Loop, "run", 1, True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_goes_on_with_the_same_bits(tmp_path, tokens, undisturbed, monkeypatch, moment):
    with monkeypatch.context() as patch:
        kill(patch, *MOMENTS[moment])
        with pytest.raises(Killed):
            train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert not (tmp_path / "run_meta.json").exists()
    train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert results_of(tmp_path) == undisturbed


class Interrupting(Silent):
    """Sends a signal at a step, or in an evaluation."""

    def __init__(self, number, at_step=None, at_evaluation=None):
        self.number, self.at_step, self.at_evaluation = number, at_step, at_evaluation
        self.evaluations = 0

    def step(self, metrics):
        if metrics["step"] == self.at_step:
            os.kill(os.getpid(), self.number)

    def phase(self, what, done=0.0, total=0.0):
        if what == "evaluating":
            self.evaluations += 1
            if self.evaluations == self.at_evaluation:
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("progress", "saved", "code"),
    [
        (Interrupting(signal.SIGINT, at_step=7), 7, 130),
        (Interrupting(signal.SIGTERM, at_evaluation=3), 8, 143),
        (Interrupting(signal.SIGINT, at_evaluation=1), 0, 130),
    ],
    ids=["Ctrl-C in a step", "SIGTERM in an evaluation", "Ctrl-C in the first evaluation"],
)
def test_interrupted_run_saves_its_step_and_goes_on(
    tmp_path, tokens, undisturbed, progress, saved, code
):
    with pytest.raises(Interrupted, match=f"interrupted after step {saved}") as raised:
        train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=progress)
    assert raised.value.exit_code == code
    assert (tmp_path / "checkpoints" / f"step-{saved}" / "state.json").exists()
    # A second time before anything else is done: the same checkpoint is written again.
    again = Interrupting(signal.SIGINT, at_evaluation=1)
    if progress.at_evaluation:
        with pytest.raises(Interrupted):
            train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=again)
    train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert results_of(tmp_path) == undisturbed


def test_handlers_of_signals_come_back(tmp_path, tokens):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    progress = Interrupting(signal.SIGINT, at_step=1)
    with pytest.raises(Interrupted):
        train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=progress)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Filling(Silent):
    """Lets no file grow beyond some bytes from a step on."""

    def step(self, metrics):
        if metrics["step"] == 4:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))


def test_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on(tmp_path, tokens, undisturbed):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(ResultError, match=r"cannot write .*step-6: File too large"):
            train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=Filling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-3"]
    train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert results_of(tmp_path) == undisturbed


def test_finished_run_is_returned_as_it_is(tmp_path, tokens, monkeypatch):
    first = train(RECIPE, tmp_path, data=[tokens], device="cpu")
    written = first.meta_path.stat().st_mtime_ns
    kill(monkeypatch, step.TrainStep, "__call__", 1)
    again = train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert again.meta["created_at"] == first.meta["created_at"]
    assert again.meta_path.stat().st_mtime_ns == written
    with pytest.raises(ResultError, match="holds this run, finished"):
        train(RECIPE, tmp_path, data=[tokens], device="cpu", resume=False)


def test_without_resume_the_run_begins_again(tmp_path, tokens, undisturbed):
    progress = Interrupting(signal.SIGINT, at_step=7)
    with pytest.raises(Interrupted):
        train(RECIPE, tmp_path, data=[tokens], device="cpu", progress=progress)
    progress = Interrupting(signal.SIGINT, at_step=1)
    with pytest.raises(Interrupted):
        train(RECIPE, tmp_path, data=[tokens], device="cpu", resume=False, progress=progress)
    assert len(metrics_of(tmp_path)) == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-1"]
    train(RECIPE, tmp_path, data=[tokens], device="cpu")
    assert results_of(tmp_path) == undisturbed
