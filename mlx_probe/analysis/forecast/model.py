"""A forecast for a model that may not be on this disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_probe import checkpoint as checkpoints
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.forecast.forecast import forecast
from mlx_probe.analysis.forecast.inference import CONTEXTS, WIDTHS
from mlx_probe.analysis.forecast.rates import rates_for
from mlx_probe.analysis.forecast.records import Fetch, Forecast
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.settings import with_settings
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.compute.backends.mlx.status import mlx_status
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelFiles
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.monitor.readings import free_space
from mlx_probe.source import SOURCES, parse_reference, resolve
from mlx_probe.source.hub.status import hub_cache, hub_settings

__all__ = ["forecast_model", "opened"]


def forecast_model(
    model: str | Path,
    *,
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    revision: str | None = None,
    config: AnalyzeConfig | None = None,
    contexts: Sequence[int] = CONTEXTS,
    widths: Sequence[int] = WIDTHS,
    calibrate: bool = False,
    **settings: Any,
) -> Forecast:
    """What `analyze` with the same arguments would do and cost; no weight is read.

    Example::

        print(mlx_probe.plan("Qwen/Qwen3-0.6B", memory_limit=4_000_000_000).fits)

    For a model on the Hub or at an address that is not on this disk only the headers are read,
    by range requests. A package is fetched first, as `analyze` does.

    Args:
        model: See `open_checkpoint`.
        out: See `analyze`.
        formats: See `analyze`.
        revision: See `open_checkpoint`.
        config: What would be computed, and how.
        contexts: Context lengths for the memory of inference, in tokens.
        widths: Bits of a weight for it.
        calibrate: Whether to time this machine again, even if it was timed before.
        **settings: Fields of `AnalyzeConfig`; they win over ``config``.

    Raises:
        ProbeError: One of its kinds. A memory limit that is too small is no error: the forecast
            says so.
    """
    config = with_settings(config or AnalyzeConfig(), settings, forecast_model, "plan")
    with opened(str(model), revision) as (checkpoint, fetch):
        plan = make_plan(checkpoint, config, strict=False)
        paths = resolve_output(
            None if out is None else Path(out), formats, checkpoint.files.model_id
        )
        if paths.group is not None:
            # The run is named by the time at which it begins.
            paths = paths.moved(paths.group / "<time>")
        gpu = plan.backend.device.startswith("gpu")
        return forecast(
            plan,
            paths,
            rates_for(plan, calibrate),
            fetch=fetch,
            limit=config.memory_limit,
            contexts=contexts,
            widths=widths,
            device_limit=mlx_status().working_set if gpu else None,
        )


@contextmanager
def opened(model: str, revision: str | None) -> Iterator[tuple[Checkpoint, Fetch]]:
    """A model's checkpoint, of which only the headers are here if it is not on this disk.

    Args:
        model: See `open_checkpoint`.
        revision: See `open_checkpoint`.

    Yields:
        The checkpoint, and what would have to be fetched before its weights are read.

    Raises:
        ProbeError: One of its kinds.
    """
    files = _resolved(model, revision)
    fetch = Fetch()
    if files.opener is not None:
        missing = sum(size for path, size in files.opener.sizes.items() if not path.exists())
        on_hub = parse_reference(model, revision).source == "hub"
        folder = hub_cache() if on_hub else str(cache_dir())
        fetch = Fetch(missing, folder, _free_space(Path(folder)))
    with checkpoints.open_checkpoint(files) as checkpoint:
        yield checkpoint, fetch


def _free_space(folder: Path) -> int | None:
    with suppress(OSError):
        return free_space(folder)[0]
    return None


def _resolved(model: str, revision: str | None) -> ModelFiles:
    source = SOURCES[parse_reference(model, revision).source]
    remote = source.fetch_remote is not None and not hub_settings().offline
    files = resolve(model, revision, remote=remote)
    if remote and all(path.exists() for path in files.weights):
        return replace(files, opener=None)
    return files
