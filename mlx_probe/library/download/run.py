"""One download, from the reference to the manifest."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelRef
from mlx_probe.library.download.choice import wanted_names
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.library.download.errors import explained
from mlx_probe.library.download.log import logging_to
from mlx_probe.library.download.origin import link_or_copy
from mlx_probe.library.download.plan import DownloadPlan, make_plan
from mlx_probe.runs.monitor.gate import Gate
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig
from mlx_probe.source import ListingOptions, list_model
from mlx_probe.source.manifest import ManifestFile, record, write_manifest
from mlx_probe.source.transfer.batch import fetch_files
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.disk_space import existing_folder, require_space
from mlx_probe.source.transfer.listing import ModelListing
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.threads import Stop, in_threads

__all__ = ["Downloaded", "download", "plan_download"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Downloaded:
    """A finished download.

    Attributes:
        plan: The state before it.
        folder: Where the files are.
        manifest: The manifest beside them.
        log: The log.
        received: Bytes that came over the network.
    """

    plan: DownloadPlan
    folder: Path
    manifest: Path
    log: Path
    received: int


def plan_download(ref: ModelRef, config: DownloadConfig | None = None) -> DownloadPlan:
    """What a download would fetch; hashes nothing, and writes only to the Hub's cache.

    Args:
        ref: From `parse_reference`.
        config: Settings.

    Raises:
        SourceError: The model cannot be found.
        ConfigError: Settings that do not fit the model.
        CheckpointError: The sharding index is damaged.
    """
    config = config or DownloadConfig()
    with explained(ref, config):
        options = ListingOptions(config.local_dir, config.endpoints, config.retry, dry=True)
        listing = list_model(ref, options)
        return make_plan(listing, wanted_names(listing, config), config.workers, hashing=False)


def download(
    ref: ModelRef,
    config: DownloadConfig | None = None,
    progress: DownloadProgress | None = None,
    watch: WatchConfig | None = None,
) -> Downloaded:
    """Fetch a model's files to this disk; right files stay, partial files are completed.

    Args:
        ref: From `parse_reference`.
        config: Settings.
        progress: Shows how far it is, and is closed at the end; None for nothing.
        watch: Rules on memory, disk and load, and who may follow the job.

    Raises:
        Stopped: A rule with "stop" was broken; the files so far are kept.
        SourceError: The model or one of its files cannot be had, or does not arrive as it was
            published.
        ConfigError: Settings that do not fit the model.
        CheckpointError: The sharding index is damaged.
        Interrupted: The user stopped it.
    """
    config, progress = config or DownloadConfig(), progress or DownloadProgress()
    folder = config.local_dir or cache_dir() / "downloads" / _plain_name(ref)
    with explained(ref, config), logging_to(folder) as log, ExitStack() as stack:
        stack.callback(progress.close)
        options = ListingOptions(
            config.local_dir, config.endpoints, config.retry, on_bytes=progress.count
        )
        listing = list_model(ref, options)
        gate = stack.enter_context(_watched(ref, listing, progress, watch, log))
        _log.info("%s %s at %s", listing.source, listing.model, listing.revision or "no revision")
        names = wanted_names(listing, config)
        plan = make_plan(listing, names, config.workers, on_bytes=progress.check)
        for item in plan.items:
            _log.info("%s: %s bytes, %s", item.file.name, item.file.size, item.state)
        require_space(
            existing_folder(listing.destination.folder),
            plan.to_fetch,
            listing.model,
            listing.destination.variable,
        )
        files = _fetch(plan, config, progress, gate)
        listing.on_complete()
        manifest = write_manifest(
            listing.destination.folder,
            listing.source,
            listing.model,
            listing.revision,
            listing.endpoint,
            files,
        )
        for file in files:
            _log.info("%s: sha256 %s", file.name, file.sha256)
        _log.info("complete: %d bytes came over the network", progress.received)
    return Downloaded(plan, listing.destination.folder, manifest, log, progress.received)


@contextmanager
def _watched(
    ref: ModelRef,
    listing: ModelListing,
    progress: DownloadProgress,
    config: WatchConfig | None,
    log: Path,
) -> Iterator[Gate]:
    """Monitor the download, and keep the samples beside the log if it succeeds.

    Yields:
        The gate that holds the transfers while a rule pauses them.
    """

    def state() -> JobState:
        return JobState(progress.done, progress.total, listing.model, progress.received)

    def alert(text: str, is_warning: bool) -> None:
        _log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
        progress.alert(text, is_warning)

    destination = existing_folder(listing.destination.folder)
    with JobMonitor(
        "download", ref.text, state, config=config, folder=destination, on_alert=alert
    ) as watch:
        watch.gate.wait()
        yield watch.gate
        watch.keep(log.with_suffix(".monitor.parquet"))


def _fetch(
    plan: DownloadPlan, config: DownloadConfig, progress: DownloadProgress, gate: Gate
) -> list[ManifestFile]:
    """Fetch the files that are not verified yet; returns the records of all files."""
    listing = plan.listing
    there = [item.entry for item in plan.items if item.entry is not None]
    needed = [item for item in plan.items if item.entry is None]
    requests = [item.request for item in needed if item.request is not None]
    fetched: list[PublishedFile] = []
    if requests:
        fetched = fetch_files(
            requests,
            listing.destination,
            config.workers,
            config.retry,
            progress,
            lambda _: gate.wait(),
        )
    stop = Stop()
    count = stop.checked(progress.check)
    here = [item.file.name for item in needed if item.request is None]
    taken = in_threads(lambda name: link_or_copy(listing, name, count), here, config.workers, stop)
    records = [record(file, listing.destination.folder / file.name) for file in fetched]
    return [*there, *taken, *records]


def _plain_name(ref: ModelRef) -> str:
    """A folder's name for a reference."""
    name = ref.name if ref.source in ("hub", "pypi") else ref.source
    return re.sub(r"[^A-Za-z0-9._-]", "--", name)[:100]
