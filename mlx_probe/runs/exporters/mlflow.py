"""MLflow's store in SQLite, through MLflow's own client.

Not its folder of files: since version 3 MLflow refuses to write one, as it is no longer developed.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_error
from mlx_probe.runs.exporters.metrics import Values

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["open_log", "require", "show", "write"]

_STORE, _ARTIFACTS, _EXPERIMENT = "mlflow.db", "artifacts", "mlx-probe"
# MLflow chooses the ids of runs: this tag says which run of ours one is.
_IDENTITY = "mlx_probe.run"
# What MLflow takes in one call, in a name, and in a value.
_BATCH, _PARAMS, _NAME, _PARAM, _TAG = 1000, 100, 250, 6000, 8000
_REFUSED = re.compile(r"[^\w\-. /:]")
_STATUS = {
    "finished": "FINISHED",
    "stopped early": "FINISHED",
    "running": "RUNNING",
    "interrupted": "KILLED",
    "damaged": "FAILED",
}
# Seconds between writes of a live log: one takes some milliseconds.
_PAUSE = 1.0


def require() -> None:
    """Import MLflow.

    Raises:
        ConfigError: It is not installed, or without what its SQLite store needs.
    """
    # It would send usage statistics.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        with _quiet():
            import alembic  # noqa: F401
            import mlflow.tracking  # noqa: F401
            import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"MLflow's store needs the package {error.name}, which is not installed",
            "Install it with: pip install 'mlx-probe[mlflow]'",
        ) from error


def write(run: ExportedRun, out: Path) -> Path:
    """Add a run to the store, in the place of an earlier export of it.

    The new run is complete before the old one goes to MLflow's bin, which `mlflow gc` empties.
    Infinities are the largest float64; NaN stays so.

    Args:
        run: The run.
        out: The folder of the store.

    Returns:
        The store.

    Raises:
        ConfigError: MLflow is not installed.
        ResultError: The run has no numbers, or the store refused.
    """
    run.require_numbers()
    store = out / _STORE
    with _refused(store):
        client, experiment = _open(out)
        earlier = _runs(client, experiment, run)
        new = _begin(client, experiment, run)
        _log(client, new, run, list(run.steps))
        _end(client, new, run)
        for each in earlier:
            client.delete_run(each)
    return store


def show(out: Path) -> str:
    """The command that shows what is in a folder of exports."""
    return shlex.join(["mlflow", "ui", "--backend-store-uri", f"sqlite:///{out / _STORE}"])


class _Log:
    """A run in the store that grows, some steps at a time."""

    def __init__(self, run: ExportedRun, out: Path) -> None:
        self._store, self._run = out / _STORE, run
        self._waiting: list[Values] = []
        self._written = time.monotonic()
        with _refused(self._store):
            self._client, experiment = _open(out)
            earlier = _runs(self._client, experiment, run)
            done = _kept(self._client, earlier[0], run) if len(earlier) == 1 else None
            if done is not None:
                self._id = earlier[0]
                self._client.update_run(self._id, status="RUNNING")
            else:
                # It has steps that a killed process made after its last checkpoint, and MLflow
                # cannot take a step back.
                self._id, done = _begin(self._client, experiment, run), 0
            _log(self._client, self._id, run, run.steps[done:])
            for each in earlier:
                if each != self._id:
                    self._client.delete_run(each)

    def log(self, values: Values) -> None:
        self._waiting.append(values)
        if time.monotonic() - self._written >= _PAUSE:
            self._flush()

    def close(self, run: ExportedRun) -> None:
        self._flush()
        with _refused(self._store):
            _end(self._client, self._id, replace(run, began=self._run.began))

    def _flush(self) -> None:
        with _refused(self._store):
            _log(self._client, self._id, self._run, self._waiting)
        self._waiting, self._written = [], time.monotonic()


def open_log(run: ExportedRun, out: Path) -> _Log:
    """Go on with a run in the store; it goes on where it is what the run has so far.

    Args:
        run: The run with its steps so far.
        out: The folder of the store.

    Raises:
        ConfigError: MLflow is not installed.
        ResultError: The store refused.
    """
    return _Log(run, out)


def _open(out: Path) -> tuple[Any, str]:
    """A client of the store in a folder, and the id of our experiment in it."""
    require()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    out = out.resolve()
    if "?" in str(out):
        # It would end the path in the store's address.
        raise ConfigError(
            f"{out} has a ?, which MLflow takes for the end", "Choose another path with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    client = MlflowClient(tracking_uri=f"sqlite:///{out / _STORE}")
    known = client.get_experiment_by_name(_EXPERIMENT)
    if known is None:
        try:
            # Else artifacts would lie in the working folder.
            return client, client.create_experiment(_EXPERIMENT, (out / _ARTIFACTS).as_uri())
        except MlflowException:
            # Another process was faster.
            known = client.get_experiment_by_name(_EXPERIMENT)
            if known is None:
                raise
    if known.lifecycle_stage != "active":
        client.restore_experiment(known.experiment_id)
    return client, known.experiment_id


def _runs(client: Any, experiment: str, run: ExportedRun) -> list[str]:
    """MLflow's ids of earlier exports of a run."""
    condition = "=".join([f"tags.`{_IDENTITY}`", f"'{run.identity}'"])
    found = client.search_runs([experiment], condition)
    return [each.info.run_id for each in found]


def _begin(client: Any, experiment: str, run: ExportedRun) -> str:
    """Begin a run with its settings."""
    from mlflow.entities import Param

    identity = client.create_run(
        experiment,
        start_time=round(1000 * run.began),
        tags={_IDENTITY: run.identity, **_tags(run)},
        run_name=run.name,
    ).info.run_id
    params = [
        Param(_named(name), str(value)[:_PARAM])
        for name, value in {"kind": run.kind, **run.params}.items()
    ]
    for first in range(0, len(params), _PARAMS):
        client.log_batch(identity, params=params[first : first + _PARAMS])
    return str(identity)


def _log(client: Any, identity: str, run: ExportedRun, rows: Sequence[Values]) -> None:
    """Log the numbers of some rows."""
    from mlflow.entities import Metric

    points = [
        Metric(_named(name), float(value), round(1000 * run.time_of(row)), int(row["step"] or 0))
        for row in rows
        for name, value in row.items()
        if name != "step" and value is not None
    ]
    for first in range(0, len(points), _BATCH):
        client.log_batch(identity, metrics=points[first : first + _BATCH])


def _end(client: Any, identity: str, run: ExportedRun) -> None:
    """Log final numbers, state, tags and note."""
    if (final := run.final_row()) is not None:
        _log(client, identity, run, [final])
    for name, value in _tags(run).items():
        client.set_tag(identity, name, value)
    ended = None if run.ended is None else round(1000 * run.ended)
    client.set_terminated(identity, _STATUS.get(run.state, "FAILED"), ended)


def _tags(run: ExportedRun) -> dict[str, str]:
    about = run.describe()
    note = about.pop("note")
    about.pop("tags")
    tags = {f"mlx_probe.{name}": str(value)[:_TAG] for name, value in about.items()}
    tags |= {_named(f"tag.{name}"): "true" for name in run.tags}
    return {**tags, "mlflow.note.content": note[:_TAG]} if note else tags


def _kept(client: Any, identity: str, run: ExportedRun) -> int | None:
    """How many of a run's steps are in the store; None if others are in it, too."""
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in run.steps:
        for name, value in row.items():
            if name != "step" and value is not None:
                points = expected.setdefault(_named(name), [])
                points.append((int(row["step"] or 0), _stored(float(value))))
    known = client.get_run(identity).data.metrics
    logged = {
        name: [(each.step, each.value) for each in client.get_metric_history(identity, name)]
        for name in known
    }
    last = max((step for points in logged.values() for step, _ in points), default=-1)
    done = sum(1 for row in run.steps if int(row["step"] or 0) <= last)
    for name in expected.keys() | logged.keys():
        due = [point for point in expected.get(name, []) if point[0] <= last]
        if _sorted(logged.get(name, [])) != _sorted(due):
            return None
    return done


def _sorted(points: Sequence[tuple[int, float]]) -> list[tuple[int, str]]:
    # As text, so that NaN is the same as NaN.
    return sorted((step, repr(value)) for step, value in points)


def _stored(value: float) -> float:
    """A number as the store gives it back."""
    return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value


def _named(name: str) -> str:
    return _REFUSED.sub("_", name)[:_NAME]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its reports on its tables, and warnings that are meant for its authors."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _refused(store: Path) -> Iterator[None]:
    """Errors of MLflow and of its database as one that names the store.

    Raises:
        ResultError: The store refused.
    """
    require()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _quiet():
            yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ResultError(
            f"cannot write {store}: {reason}", "Move it away, or choose another path with --out"
        ) from error
