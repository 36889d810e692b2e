"""Bringing back the files of a model that are damaged or missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.library.download.origin import take
from mlx_probe.library.download.run import writing
from mlx_probe.library.download.verify import Case, Verification
from mlx_probe.source import SUPPLIERS
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.listing import Repository, list_repository
from mlx_probe.source.manifest import Manifest, ManifestFile, record, write_manifest
from mlx_probe.source.transfer.batch import FileRequest, bring_all
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.disk_space import space_for
from mlx_probe.source.transfer.http_range import shown_address
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["repair"]


def repair(
    found: Verification,
    config: DownloadConfig | None = None,
    progress: DownloadProgress | None = None,
) -> Verification:
    """Bring anew what is not right; each file is replaced only when the new one is verified.

    Args:
        found: From `verify`.
        config: Mirrors, workers, retries.
        progress: Knows how far it is.

    Returns:
        The same findings, with what was repaired.

    Raises:
        SourceError: A file cannot be had, or is published with another content by now.
        ConfigError: Mirrors for a source that has none.
        Interrupted: The user stopped it.
    """
    config, progress, case = config or DownloadConfig(), progress or DownloadProgress(), found.case
    names = [finding.name for finding in found.damaged]
    if not names or case is None:
        return found
    with writing(case.ref, config):
        if case.repository is not None:
            _from_hub(case, case.repository, names, config, progress)
        elif case.manifest is not None:
            _from_source(case, case.manifest, names, config, progress)
    findings = tuple(replace(f, repaired=True) if f.problem else f for f in found.findings)
    return replace(found, findings=findings, received=progress.received)


def _from_hub(
    case: Case,
    found: Repository,
    names: Sequence[str],
    config: DownloadConfig,
    progress: DownloadProgress,
) -> None:
    _check_listing(case, found.files, names, found.commit)
    # What the manifest says counts, whatever the source says by now.
    requests = [_bound(found.request(name, again=True), case.files[name]) for name in names]
    endpoint = shown_address(found.endpoints[0])
    known = Manifest("hub", found.name, found.commit, endpoint, "", "", ())
    _bring(_destination_of(case.destination, known), requests, known, config, progress)


def _from_source(
    case: Case,
    manifest: Manifest,
    names: Sequence[str],
    config: DownloadConfig,
    progress: DownloadProgress,
) -> None:
    source = manifest.source
    if source not in SUPPLIERS:
        raise SourceError(
            f"the manifest in {case.destination.folder} names no source that files could come from",
            "Download the model again",
        )
    ref = ModelRef(manifest.model, source, manifest.model, manifest.revision or None)
    with writing(ref, config):
        if source == "hub":
            # Not the endpoint that the manifest names: whoever wrote it would get the token.
            found = list_repository(ref, config.endpoints, config.retry)
            _from_hub(case, found, names, config, progress)
            return
        listing = SUPPLIERS[source](
            ref, case.destination.folder, config.endpoints, config.retry, True
        )
        _check_listing(case, listing.files, names, listing.revision)
        if listing.request is None:
            entries = [take(listing, name, progress.count) for name in names]
            _confirm(case, entries)
            _record(case.destination, manifest, entries)
            return
        requests = [_bound(listing.request(name, True), case.files[name]) for name in names]
        _bring(case.destination, requests, manifest, config, progress)


def _bring(
    destination: Destination,
    requests: Sequence[FileRequest],
    manifest: Manifest,
    config: DownloadConfig,
    progress: DownloadProgress,
) -> None:
    space_for(requests, destination, manifest.model)
    progress.begin(requests, destination)
    came = bring_all(
        requests, destination, config.workers, config.retry, progress.traffic, progress.finish
    )
    _record(destination, manifest, [record(file, destination.folder / file.name) for file in came])


def _record(destination: Destination, manifest: Manifest, entries: Sequence[ManifestFile]) -> None:
    write_manifest(
        destination.folder,
        manifest.source,
        manifest.model,
        manifest.revision,
        manifest.endpoint,
        entries,
    )


def _destination_of(destination: Destination, manifest: Manifest) -> Destination:
    """The cache's own way of keeping files, for a folder that is in the Hub's cache."""
    if manifest.source == "hub" and re.fullmatch("[0-9a-f]{40}", manifest.revision):
        cache = CacheDestination(manifest.model, manifest.revision)
        if cache.folder.exists() and cache.folder.samefile(destination.folder):
            return cache
    return destination


def _check_listing(
    case: Case, files: Mapping[str, PublishedFile], names: Sequence[str], revision: str
) -> None:
    wanted = case.manifest.revision if case.manifest else revision
    absent = [name for name in names if name not in files]
    if absent or wanted != revision:
        what = f"no longer has {absent[0]}" if absent else f"has revision {revision}, not {wanted}"
        raise SourceError(
            f"the source of {case.destination.folder} {what}",
            "Download the model again to a new folder",
        )


def _bound(request: FileRequest, wanted: PublishedFile) -> FileRequest:
    """The same request, satisfied only by the content that the manifest names."""
    sizes = {request.file.size, wanted.size} - {None}
    hashes = {request.file.sha256, wanted.sha256} - {None}
    if len(sizes) > 1 or len(hashes) > 1:
        raise SourceError(
            f"{wanted.name} is published with another content than was downloaded",
            "Download the model again to a new folder",
        )
    file = replace(request.file, size=wanted.size, sha256=wanted.sha256 or request.file.sha256)
    return replace(request, file=file)


def _confirm(case: Case, entries: Sequence[ManifestFile]) -> None:
    for entry in entries:
        if case.files[entry.name].sha256 != entry.sha256:
            raise SourceError(
                f"{entry.name} is not what it was in the folder it came from",
                "Find a sound copy and link or download it again",
            )
