"""A sweep: many runs of one command with different settings.

`run_sweep` is the whole flow: plan the trials, leave out those that are finished, run the others
here or on a cluster, and note in the journal what became of each. A trial that was interrupted is
run by the same command again, which goes on where it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from mlx_probe.core.errors import Interrupted, ProbeError, ResultError
from mlx_probe.core.files import write_error, write_text
from mlx_probe.lab.sweep.command import last_message, run_command
from mlx_probe.lab.sweep.config import SweepConfig
from mlx_probe.lab.sweep.journal import JOURNAL, SweepJournal
from mlx_probe.lab.sweep.records import Outcome, SweepResult, Trial, plan_trials
from mlx_probe.runs.experiments.read import read_experiment
from mlx_probe.runs.experiments.records import Experiment
from mlx_probe.runs.small_run import META, SmallRun, refuse_other_run

__all__ = ["KIND", "PAGE", "run_sweep", "write_sweep"]

KIND, PAGE = "sweep", "sweep.html"
_CONFIG = "sweep.yaml"
# What a command ends with when it did all it was to do: an early stop is an end as planned.
_DONE = (0, 4)
_ENDED = ("finished", "stopped early")
# A trial with its exit code and seconds, or the error with which it could not be run.
_Ended: TypeAlias = tuple[Trial, tuple[int, float] | BaseException]


def run_sweep(
    config: SweepConfig,
    out: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    retry: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_start: Callable[[Trial], None] = lambda trial: None,
) -> SweepResult:
    """Run all trials that have not ended yet.

    Called again with the same configuration it goes on: a finished trial is not run again.

    Args:
        config: Which trials.
        out: The folder of the sweep.
        workers: Trials at a time, each a process of its own.
        cluster: Address of a Dask cluster whose workers run the trials, or local:N; they see
            ``out`` under the same path.
        retry: Whether trials that failed are run again.
        on_outcome: Called with what became of each trial, also of those that had ended before.
        on_start: Called with each trial that is run here.

    Raises:
        ConfigError: There are too many trials, or a package is missing.
        ResultError: ``out`` holds something else, or the disk refused.
        ClusterError: The cluster does not answer, or is lost.
        Interrupted: Ctrl-C; what the trials saved is there.
    """
    out = Path(os.path.realpath(out))
    trials = plan_trials(config, out)
    _refuse_others(out)
    about = {"fingerprint": config.fingerprint, **config.describe()}
    outcomes: dict[int, Outcome] = {}
    with SweepJournal(out, about) as journal:
        write_text(out / _CONFIG, yaml.safe_dump(config.describe(), sort_keys=False))
        for trial in trials:
            outcome = _ended(config, trial, journal, retry)
            if outcome is not None:
                outcomes[trial.number] = outcome
                on_outcome(outcome)
        left = [trial for trial in trials if trial.number not in outcomes]
        if left:
            _make_folders(out)
            (out / META).unlink(missing_ok=True)

        def begin(trial: Trial) -> None:
            journal.append(trial.number, "started")
            on_start(trial)

        run = _here(config, left, workers, begin)
        if cluster is not None:
            run = _on_cluster(config, left, cluster, begin)
        # Closed at once, also by an error: it ends what runs.
        with closing(run):
            for trial, ended in run:
                code, seconds = ended if isinstance(ended, tuple) else (None, None)
                before = "" if code is not None else f"it could not be run: {ended!r}"
                outcome = _judged(config, trial, code, seconds, before)
                facts = {"code": code, "reason": outcome.reason, "seconds": outcome.seconds}
                journal.append(trial.number, outcome.state, value=outcome.value, **facts)
                outcomes[trial.number] = outcome
                on_outcome(outcome)
    return SweepResult(out, config, tuple(outcomes[trial.number] for trial in trials))


def write_sweep(result: SweepResult, made: SmallRun) -> None:
    """Write the metadata of a sweep, last of all: its folder is then a finished run.

    Args:
        result: Its trials have ended.
        made: From when the sweep began.

    Raises:
        ResultError: The disk refused.
    """
    best = result.best
    metrics: dict[str, Any] = {
        "trials": len(result.outcomes),
        "finished": len(result.finished),
        "failed": len(result.failed),
    }
    if best is not None:
        metrics |= {f"best_{result.config.metric}": best.value, "best_trial": best.trial.number}
    made.write(
        result.folder, [], result.config.describe(), metrics, trials=result.describe()["trials"]
    )


def _refuse_others(out: Path) -> None:
    """Refuse a folder that holds another run, or files of the user."""
    refuse_other_run(out, KIND)
    if out.is_dir() and not (out / JOURNAL).exists() and any(out.iterdir()):
        raise ResultError(f"{out} holds other files", "Choose another folder with --out")


def _make_folders(out: Path) -> None:
    for name in ("trials", "logs"):
        try:
            (out / name).mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(out / name, error) from error


def _ended(config: SweepConfig, trial: Trial, journal: SweepJournal, retry: bool) -> Outcome | None:
    """What became of a trial before; None if it is to be run."""
    entry = journal.entries.get(trial.number)
    if entry is None:
        return None
    state = entry["state"]
    if state == "failed" and not retry:
        # Not failed any more where its metric was missing, and another one counts now.
        reason = str(entry.get("reason", ""))
        return _judged(config, trial, entry.get("code"), _number(entry.get("seconds")), reason)
    experiment = _experiment(trial)
    # A sweep that was killed may have missed its end.
    if experiment is None or experiment.state not in _ENDED or state == "failed":
        return None
    outcome = _judged(config, trial, 0, _number(entry.get("seconds")))
    if state == "started":
        journal.append(trial.number, outcome.state, value=outcome.value, reason=outcome.reason)
    return outcome


def _judged(
    config: SweepConfig, trial: Trial, code: int | None, seconds: float | None, before: str = ""
) -> Outcome:
    """What became of a trial, from its exit code and its folder."""
    experiment = _experiment(trial)
    if experiment is None or experiment.state not in _ENDED or code not in _DONE:
        reason = before or _reason(trial, code)
        return Outcome(trial, "failed", None, seconds, reason, experiment)
    seconds = seconds if seconds is not None else experiment.seconds
    value = experiment.metrics.get(config.metric)
    if value is None:
        known = ", ".join(sorted(experiment.metrics)) or "none"
        reason = f"it has no metric {config.metric}; it has {known}"
        return Outcome(trial, "failed", None, seconds, reason, experiment)
    return Outcome(trial, "finished", value, seconds, "", experiment)


def _reason(trial: Trial, code: int | None) -> str:
    said = last_message(trial.log)
    return said or (f"it ended with exit code {code}" if code else "it left no finished run")


def _experiment(trial: Trial) -> Experiment | None:
    try:
        return read_experiment(trial.folder)
    except ProbeError:
        return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _here(
    config: SweepConfig, trials: Sequence[Trial], workers: int, begin: Callable[[Trial], None]
) -> Generator[_Ended, None, None]:
    """Run trials on this machine."""
    stop, here = threading.Event(), os.getcwd()  # noqa: PTH109  text for a process
    waiting = iter(trials)
    running: dict[Future[tuple[int, float]], Trial] = {}

    def start() -> None:
        trial = next(waiting, None)
        if trial is not None:
            begin(trial)
            words = trial.words(config.command)
            running[pool.submit(run_command, words, str(trial.log), here, stop)] = trial

    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in range(workers):
                start()
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    trial = running.pop(future)
                    error = future.exception()
                    yield trial, error if error is not None else future.result()
                    start()
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; {len(running)} trials save what they have",
                "Run the same command again to go on",
            ) from None
        finally:
            stop.set()


def _on_cluster(
    config: SweepConfig, trials: Sequence[Trial], address: str, begin: Callable[[Trial], None]
) -> Generator[_Ended, None, None]:
    """Let the workers of a cluster run trials; as `_here`."""
    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.cluster.tasks import made_by_workers

    if not trials:
        return
    calls = [(trial.words(config.command), str(trial.log), os.getcwd()) for trial in trials]  # noqa: PTH109
    for trial in trials:
        begin(trial)
    try:
        for number, result in made_by_workers(ClusterConfig(address), run_command, calls):
            yield trials[number], result
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the workers' trials save what they have",
            "Run the same command again to go on",
        ) from None
