"""A series of checkpoints: what is new is measured, and what happened when is said.

`measure_series` is the whole flow. Everything that is known is in files: the measurement of a step
is a run of `analyze` in the series' folder, with its own journal, so that a call that is killed
goes on there, and a step whose measurement is finished is not touched again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_probe.analysis.series.config import SeriesConfig, SeriesProgress, Unseen
from mlx_probe.analysis.series.found import Listing, find_checkpoints
from mlx_probe.analysis.series.measuring import (
    drop_differing,
    is_current,
    measure_step,
    refuse_other_settings,
)
from mlx_probe.analysis.series.result import SeriesResult
from mlx_probe.analysis.series.states import StepState
from mlx_probe.core.errors import Interrupted, ResultError, SourceError, Stopped
from mlx_probe.core.version import __version__
from mlx_probe.runs.experiments.records import Input
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.series import KIND, META, SeriesFolder
from mlx_probe.runs.small_run import SmallRun, refuse_other_run

__all__ = ["measure_series"]

# Version of what is said of a series: with another one the same measurements are looked at again.
_RULES = 1
# Changes in the metadata; the table has all.
_MOST = 5000


def measure_series(
    references: Sequence[str],
    out: Path,
    config: SeriesConfig | None = None,
    progress: SeriesProgress | None = None,
    publish: Callable[[Path], object] | None = None,
) -> SeriesResult:
    """Measure the checkpoints that are new, and write the tables of the whole series.

    Args:
        references: A folder with checkpoints, several models, or revisions on the Hub; see
            `find_checkpoints`.
        out: Folder of the series.
        config: How.
        progress: Who watches.
        publish: Called with the folder whenever its results are new: draws the page.

    Raises:
        SourceError: There is no checkpoint, or none is whole.
        ConfigError: Their steps are not clear, or they were measured in another way before.
        ResultError: The folder holds something else, or the disk refused.
        Interrupted, Stopped: What is finished stays, and is in the tables.
        ProbeError: One of its kinds.
    """
    config, progress = config or SeriesConfig(), progress or Unseen()
    started = SmallRun(KIND)
    refuse_other_run(out, KIND)
    folder = SeriesFolder(out)
    listing = find_checkpoints(references, config.revisions, config.steps)
    with folder.alone():
        names = _begin(folder, listing, config)
        new = [found for found in listing.checkpoints if not is_current(folder, found)]
        states: dict[int, StepState] = {}
        try:
            for at, found in enumerate(new, 1):
                states[found.step] = measure_step(folder, found, config, progress, at, len(new))
        except (Interrupted, Stopped):
            if folder.steps():
                _write(started, folder, references, names, config, publish, interrupted=True)
            raise
        steps = folder.steps()
        if not steps:
            raise _nothing(references, states)
        meta = _unchanged(folder, config) or _write(
            started, folder, references, names, config, publish
        )
    kept = {step: StepState(step, names.get(step, str(step)), "kept") for step in steps}
    every = {**kept, **states}
    return SeriesResult(out, meta, [every[step] for step in sorted(every)], listing.left_out)


def _begin(folder: SeriesFolder, listing: Listing, config: SeriesConfig) -> dict[int, str]:
    """Write down which series it is, and return the names of its checkpoints by step.

    Raises:
        ResultError: The folder is of another series.
        ConfigError: What is measured was measured in another way.
    """
    about = folder.about()
    before = about.get("of")
    if about and before != listing.source:
        raise ResultError(
            f"{folder.path} holds the series of {before or 'several models'}",
            "Choose another folder with --out",
        )
    if not config.overwrite:
        for step in folder.steps()[-1:]:
            refuse_other_settings(folder.meta(step), config, step)
    else:
        for step in folder.steps():
            drop_differing(folder.run(step), config)
    known = {int(step): str(name) for step, name in about.get("checkpoints", {}).items()}
    names = {**known, **{found.step: found.name for found in listing.checkpoints}}
    described = {
        "of": listing.source,
        "checkpoints": {str(step): names[step] for step in sorted(names)},
    }
    if described != about and listing.checkpoints:
        folder.write_about(described)
    return names


def _nothing(references: Sequence[str], states: Mapping[int, StepState]) -> SourceError:
    where = references[0] if len(references) == 1 else f"{len(references)} references"
    if not states:
        return SourceError(
            f"{where} has no checkpoints",
            "Name a folder with folders such as checkpoint-100 or step-100, with files such as "
            "0000100_adapters.safetensors, or say where the step is with --steps",
        )
    first = next(iter(states.values()))
    return SourceError(
        f"{where} has no checkpoint that is whole: {first.name}: {first.reason}",
        "Run the same command again when they are written",
    )


def _settings(config: SeriesConfig) -> dict[str, Any]:
    """What decides what is said of the measurements."""
    return {"rules": _RULES, "columns": list(config.columns), "least": config.least}


def _formats(config: SeriesConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(config.formats)) or ("parquet",)


def _identities(folder: SeriesFolder) -> dict[str, str]:
    """The fingerprint of each measurement, and when it was made."""
    metas = {step: folder.meta(step) for step in folder.steps()}
    return {
        str(step): f"{meta['fingerprint']} {meta['created_at']}" for step, meta in metas.items()
    }


def _unchanged(folder: SeriesFolder, config: SeriesConfig) -> dict[str, Any] | None:
    """The metadata, if they and the tables are of just these measurements; None otherwise."""
    try:
        meta = read_meta(folder.path / META)
        same = (
            meta["said_by"] == _settings(config)
            and meta["measurements"] == _identities(folder)
            and not meta["interrupted"]
            and meta["code_version"] == __version__
            and {f"series.{suffix}" for suffix in _formats(config)} <= set(meta["outputs"])
            and all((folder.path / name).is_file() for name in meta["outputs"])
        )
    except (ResultError, KeyError, TypeError):
        return None
    return meta if same else None


def _write(
    started: SmallRun,
    folder: SeriesFolder,
    references: Sequence[str],
    names: Mapping[int, str],
    config: SeriesConfig,
    publish: Callable[[Path], object] | None,
    interrupted: bool = False,
) -> dict[str, Any]:
    """Write tables, findings and metadata of everything that is measured.

    Raises:
        ResultError: A measurement cannot be read, or the disk refused.
    """
    # What a call without anything new does not need.
    from mlx_probe.analysis.series.curves import curves_of
    from mlx_probe.analysis.series.events import changes_in, tendencies_in
    from mlx_probe.analysis.series.findings import findings_of_series
    from mlx_probe.analysis.series.followed import followed
    from mlx_probe.analysis.series.tables import series_table, write_tables

    columns = followed(config.columns)
    steps = folder.steps()
    table = series_table(folder, steps)
    curves = curves_of(table, [one.column for one in columns])
    changes = changes_in(curves, columns, config.least)
    tendencies = tendencies_in(curves, columns, config.least)
    findings = findings_of_series(curves, changes, tendencies, columns)
    files = write_tables(folder.path, table, changes, _formats(config))
    meta = started.write(
        folder.path,
        [Input("model", reference) for reference in references],
        {**asdict(config.analysis), **_settings(config)},
        {
            "steps": len(steps), "tensors": len(curves.names), "findings": len(findings),
            "changes": len(changes), "trends": len(tendencies),
        },
        files,
        steps={str(step): names.get(step, str(step)) for step in steps},
        findings=[finding.as_json() for finding in findings],
        # The same sentences, to be said in the reader's language.
        sentences=[
            {"template": finding.sentence.template, "values": dict(finding.sentence.values)}
            for finding in findings
        ],
        changes=[change.as_json() for change in changes[:_MOST]],
        said_by=_settings(config),
        measurements=_identities(folder),
        interrupted=interrupted,
    )  # fmt: skip
    if publish is not None:
        publish(folder.path)
    return meta
