"""Whether a model's files are the published ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.library.download.errors import explained
from mlx_probe.source import parse_reference
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.listing import Repository, list_repository
from mlx_probe.source.manifest import (
    MANIFEST,
    Manifest,
    read_manifest,
)
from mlx_probe.source.selection import select_files
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile, check_names, hash_file, name_problem
from mlx_probe.source.transfer.request import shown_address
from mlx_probe.source.transfer.threads import Stop, in_threads

__all__ = ["Case", "Finding", "Verification", "verify"]

_SNAPSHOT = re.compile(
    r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})"
)


@dataclass(frozen=True)
class Case:
    """The files to verify, and where they come from.

    Attributes:
        ref: The model that the user named.
        destination: Where the files are.
        files: The files as they should be, by name.
        manifest: The manifest beside them; None if there is none.
        repository: The files as the Hub lists them; None if the manifest is used.
    """

    ref: ModelRef
    destination: Destination
    files: Mapping[str, PublishedFile]
    manifest: Manifest | None
    repository: Repository | None = None


@dataclass(frozen=True)
class Finding:
    """The result for one file.

    Attributes:
        name: Its name.
        size: Bytes that it should have.
        problem: "" if it is right; otherwise "missing", how it differs, or why it cannot be read.
        repaired: Whether it was fetched again, and is right now.
    """

    name: str
    size: int
    problem: str = ""
    repaired: bool = False


@dataclass(frozen=True)
class Verification:
    """The results for a folder.

    Attributes:
        folder: The folder.
        against: What the files were compared with.
        findings: One for each file.
        received: Bytes that a repair received over the network.
        case: What a repair needs; None if none is possible.
    """

    folder: Path
    against: str
    findings: tuple[Finding, ...]
    received: int = 0
    case: Case | None = None

    @property
    def damaged(self) -> tuple[Finding, ...]:
        """Files that are not right, and were not repaired."""
        return tuple(file for file in self.findings if file.problem and not file.repaired)


def verify(
    target: str,
    config: DownloadConfig | None = None,
    revision: str | None = None,
    on_total: Callable[[int], None] = lambda total: None,
    on_check: Callable[[int], None] = lambda count: None,
) -> Verification:
    """Hash every file of a model, and compare it with its manifest or with the Hub.

    Args:
        target: A folder, or a Hub model, which means its copy in the cache.
        config: Mirrors, workers, retries.
        revision: Of a Hub model.
        on_total: Called once with the bytes that will be hashed.
        on_check: Called, in several threads, with the bytes of each piece hashed.

    Raises:
        SourceError: Nothing to compare with, or no answer from the Hub.
        ConfigError: The reference and the revision contradict each other.
        Interrupted: The user stopped it.
    """
    config = config or DownloadConfig()
    ref = parse_reference(target, revision)
    with explained(ref, config):
        case, against = _open(ref, config)
        on_total(sum(file.size or 0 for file in case.files.values()))
        stop = Stop()
        count = stop.checked(on_check)

        def finding(file: PublishedFile) -> Finding:
            return _finding(case.destination.folder, file, count)

        findings = tuple(in_threads(finding, case.files.values(), config.workers, stop))
    return Verification(case.destination.folder, against, findings, case=case)


def _finding(folder: Path, file: PublishedFile, on_check: Callable[[int], None]) -> Finding:
    path = folder / file.name
    size = file.size or 0
    try:
        problem = hash_file(path, file, on_check).mismatch(file)
    except (FileNotFoundError, NotADirectoryError):
        problem = "missing"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return Finding(file.name, size, problem)


def _open(ref: ModelRef, config: DownloadConfig) -> tuple[Case, str]:
    """The files as they should be, and who says so."""
    if ref.source == "hub":
        repository = list_repository(ref, config.endpoints, config.retry)
        return _cached(ref, repository, CacheDestination(ref.name, repository.commit))
    if ref.source != "local":
        raise SourceError(
            f"{ref.source} models are verified where they are",
            "Give the folder that holds the files and mlx-probe-manifest.json",
        )
    folder = Path(ref.name).expanduser().absolute()
    folder = folder if folder.is_dir() else folder.parent
    manifest = read_manifest(folder)
    if manifest is not None:
        files = {file.name: file.published for file in manifest.files}
        return Case(ref, FolderDestination(folder), files, manifest), str(folder / MANIFEST)
    match = _SNAPSHOT.search(folder.as_posix())
    if match is None:
        raise SourceError(
            f"{folder} has no {MANIFEST}, and is no model of the Hub's cache",
            "Run `mlx-probe download MODEL --local-dir` with this folder: it verifies what is there"
            " and writes one",
        )
    hub = ModelRef(ref.text, "hub", f"{match['owner']}/{match['name']}", match["commit"])
    repository = list_repository(hub, config.endpoints, config.retry)
    return _cached(hub, repository, FolderDestination(folder))


def _cached(ref: ModelRef, repository: Repository, destination: Destination) -> tuple[Case, str]:
    """A commit in the Hub's cache: the files that are there, and those an analysis needs."""
    plain = [name for name in repository.files if not name_problem(name)]
    names = {name for name in plain if (destination.folder / name).is_file()}
    selection = select_files(repository.sizes, ref.name, ref.file)
    names.update(selection.beside, selection.weights)
    # A damaged or missing index names no shards; the index itself is among the names.
    with suppress(CheckpointError):
        names.update(
            name for name in selection.shards(destination.folder) if name in repository.files
        )
    check_names(names, ref.name)
    files = {name: repository.request(name).file for name in sorted(names)}
    real = CacheDestination(repository.name, repository.commit)
    destination = real if real.folder == destination.folder else destination
    against = f"{repository.name} at {repository.commit} ({shown_address(repository.endpoints[0])})"
    return Case(ref, destination, files, read_manifest(destination.folder), repository), against
