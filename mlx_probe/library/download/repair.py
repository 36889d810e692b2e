"""Fetching again the files of a model that are damaged or missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.library.download.errors import explained
from mlx_probe.library.download.origin import link_or_copy
from mlx_probe.library.download.verify import Case, Verification
from mlx_probe.source import SOURCES, ListingOptions, list_model
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.listing import Repository, list_repository
from mlx_probe.source.manifest import Manifest, ManifestFile, record, write_manifest
from mlx_probe.source.transfer.batch import fetch_files
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.disk_space import space_for
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.request import FileRequest, shown_address

__all__ = ["repair"]


def repair(
    verification: Verification,
    config: DownloadConfig | None = None,
    progress: DownloadProgress | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Verification:
    """Fetch damaged files again; each is replaced only when the new one is verified.

    Args:
        verification: From `verify`.
        config: Mirrors, workers, retries.
        progress: Shows how far it is, and is closed at the end; None for nothing.
        on_bytes: See `fetch_files`.

    Returns:
        The same findings, with what was repaired.

    Raises:
        SourceError: A file cannot be had, or is published with another content by now.
        ConfigError: Mirrors for a source that has none.
        Interrupted: The user stopped it.
    """
    names = [finding.name for finding in verification.damaged]
    if not names or verification.case is None:
        return verification
    config, progress = config or DownloadConfig(), progress or DownloadProgress()
    work = _Repair(verification.case, names, config, progress, on_bytes)
    try:
        with explained(verification.case.ref, config):
            work.run()
    finally:
        progress.close()
    findings = tuple(replace(f, repaired=True) if f.problem else f for f in verification.findings)
    return replace(verification, findings=findings, received=progress.received)


@dataclass(frozen=True)
class _Repair:
    """The files to fetch again, and how."""

    case: Case
    names: Sequence[str]
    config: DownloadConfig
    progress: DownloadProgress
    on_bytes: Callable[[int], None]

    def run(self) -> None:
        if self.case.repository is not None:
            self._from_hub(self.case.repository)
        elif self.case.manifest is not None:
            self._from_source(self.case.manifest)

    def _from_hub(self, repository: Repository) -> None:
        self._check_listing(repository.files, repository.commit)
        requests = self._bound(partial(repository.request, again=True))
        endpoint = shown_address(repository.endpoints[0])
        manifest = Manifest("hub", repository.name, repository.commit, endpoint, "", "", ())
        self._fetch(_destination_of(self.case.destination, manifest), requests, manifest)

    def _from_source(self, manifest: Manifest) -> None:
        folder = self.case.destination.folder
        if manifest.source not in SOURCES:
            raise SourceError(
                f"the manifest in {folder} names no source that files could come from",
                "Download the model again",
            )
        ref = ModelRef(manifest.model, manifest.source, manifest.model, manifest.revision or None)
        with explained(ref, self.config):
            if ref.source == "hub":
                # Not the endpoint that the manifest names: whoever wrote it would get the token.
                self._from_hub(list_repository(ref, self.config.endpoints, self.config.retry))
                return
            options = ListingOptions(folder, self.config.endpoints, self.config.retry, dry=True)
            listing = list_model(ref, options)
            self._check_listing(listing.files, listing.revision)
            if listing.request is None:
                entries = [link_or_copy(listing, name, self.progress.count) for name in self.names]
                self._confirm(entries)
                _record(self.case.destination, manifest, entries)
                return
            request = listing.request
            requests = self._bound(lambda name: request(name, True))
            self._fetch(self.case.destination, requests, manifest)

    def _check_listing(self, files: Mapping[str, PublishedFile], revision: str) -> None:
        wanted = self.case.manifest.revision if self.case.manifest else revision
        absent = [name for name in self.names if name not in files]
        if absent or wanted != revision:
            problem = (
                f"no longer has {absent[0]}" if absent else f"has revision {revision}, not {wanted}"
            )
            raise SourceError(
                f"the source of {self.case.destination.folder} {problem}",
                "Download the model again to a new folder",
            )

    def _bound(self, request: Callable[[str], FileRequest]) -> list[FileRequest]:
        """Requests that only the content named by the manifest satisfies."""
        # Whatever the source says by now, the manifest counts.
        return [_bound(request(name), self.case.files[name]) for name in self.names]

    def _fetch(
        self, destination: Destination, requests: Sequence[FileRequest], manifest: Manifest
    ) -> None:
        space_for(requests, destination, manifest.model)
        fetched = fetch_files(
            requests,
            destination,
            self.config.workers,
            self.config.retry,
            self.progress,
            self.on_bytes,
        )
        entries = [record(file, destination.folder / file.name) for file in fetched]
        _record(destination, manifest, entries)

    def _confirm(self, entries: Sequence[ManifestFile]) -> None:
        for entry in entries:
            if self.case.files[entry.name].sha256 != entry.sha256:
                raise SourceError(
                    f"{entry.name} is not what it was in the folder it came from",
                    "Find a sound copy and link or download it again",
                )


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


def _bound(request: FileRequest, wanted: PublishedFile) -> FileRequest:
    """The same request, satisfied only by the content that is wanted."""
    sizes = {request.file.size, wanted.size} - {None}
    hashes = {request.file.sha256, wanted.sha256} - {None}
    if len(sizes) > 1 or len(hashes) > 1:
        raise SourceError(
            f"{wanted.name} is published with another content than was downloaded",
            "Download the model again to a new folder",
        )
    file = replace(request.file, size=wanted.size, sha256=wanted.sha256 or request.file.sha256)
    return replace(request, file=file)
