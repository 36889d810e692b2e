"""What guests see of runs: their reports, made at the start, and their tables and documents."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.messages import translated
from mlx_probe.library.share.held import Found, HeldFolder
from mlx_probe.library.share.kinds import check_kinds, kind_of, media_type
from mlx_probe.library.share.site import Resource, Site
from mlx_probe.report.html.share_page import (
    POLICY,
    document_page,
    files_page,
    policy_of,
    runs_page,
)
from mlx_probe.runs.folder import DEFAULT_STEM, is_time_name, stem_of
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.training.folder import META, training_folder

__all__ = ["Shared", "make_site"]

_UTF8 = "; charset=utf-8"
_HTML = f"text/html{_UTF8}"
# Bytes of a document that is shown as a page; a longer one is shown as text.
_LONGEST_DOCUMENT = 1 << 20
# Names of the tables in folders that are a run's own. Beside other names may lie anything.
_OWN = (DEFAULT_STEM, "compare")
_SHOWN = ("text/plain", "image/png", "image/jpeg", "image/webp", "application/json")


@dataclass(frozen=True)
class Shared:
    """A run that is shared.

    Attributes:
        name: What guests read.
        address: Path of its page.
        folder: The run's folder.
        kind: Its kind.
        files: What is served of the folder.
        left_out: Reasons against other names in it, and how many each.
    """

    name: str
    address: str
    folder: Path
    kind: str
    files: int
    left_out: dict[str, int]


def make_site(
    runs: Sequence[Path], private: Path, include: Collection[str] = ()
) -> tuple[Site, list[Shared]]:
    """Make all pages, and find all files that guests may read.

    Args:
        runs: Run folders, or what else `mlx-probe report` takes.
        private: A folder of ours alone, for the reports.
        include: Kinds of files beside those that are served by default; see `FILE_KINDS`.

    Returns:
        What a server serves, and what is in it of each run.

    Raises:
        ConfigError: A kind is unknown, or no run is named.
        ResultError: There is no run, or it is damaged.
    """
    # All kinds of pages, which are needed here only.
    from mlx_probe.report.html.write import write_report

    kinds = check_kinds(include)
    if not runs:
        raise ConfigError("no run is named", "Name the folders of the runs to share")
    resources: dict[str, Resource] = {}
    shared: list[Shared] = []
    with ExitStack() as stack:

        def held(path: Path) -> HeldFolder:
            folder = HeldFolder(path)
            stack.callback(folder.close)
            return folder

        pages = held(private)
        folders = [pages]
        for run in runs:
            folder, kind, own = _identity(run)
            if any(folder == each.folder for each in shared):
                continue
            name = _name(folder)
            address = _address(name, {each.address for each in shared})
            report = write_report(run, private / f"{len(shared)}.html")
            resources[f"{address}report.html"] = Resource(
                _HTML,
                folder=pages,
                parts=(report.name,),
                policy=policy_of(report.read_text("utf-8")),
            )
            root = held(folder)
            folders.append(root)
            served, left_out = _served(root, own, kinds)
            listed = []
            for found in served:
                path = "/".join(found.parts)
                below = f"files/{quote(path)}"
                resources[f"{address}{below}"] = _resource(root, found, address)
                listed.append((path, below, translated(str(kind_of(path))), found.size))
            page = files_page(name, kind, listed)
            resources[address] = Resource(_HTML, page.encode(), policy=POLICY)
            shared.append(Shared(name, address, folder, kind, len(listed), left_out))
        first = runs_page([(each.name, each.address, each.kind, each.files) for each in shared])
        resources["/"] = Resource(_HTML, first.encode(), policy=POLICY)
        stack.pop_all()
    return Site(resources, folders), shared


def _identity(run: Path) -> tuple[Path, str, str]:
    """The run's folder, its kind, and how the names of its files begin; "" for all in it."""
    from mlx_probe.report.html.alone import folder_of, kind_alone

    alone = kind_alone(run)
    if alone is not None:
        return folder_of(run).resolve(), alone, ""
    trained = training_folder(run)
    meta = locate_run(run) if trained is None else trained / META
    kind = str(read_meta(meta).get("kind", "")) if meta.is_file() else "train"
    stem = stem_of(meta)
    own = "" if trained is not None or stem in _OWN else f"{stem}."
    return meta.parent.resolve(), kind, own


def _served(
    root: HeldFolder, own: str, kinds: Collection[str]
) -> tuple[list[Found], dict[str, int]]:
    """The files that guests may read, and why not the others."""
    served: list[Found] = []
    left_out: dict[str, int] = {}
    for found in root.files():
        reason = found.left_out
        kind = kind_of(found.parts[-1])
        if not reason and not found.parts[0].startswith(own):
            reason = "not of this run"
        if not reason and kind is None:
            reason = "other kinds of files"
        if not reason and kind not in kinds:
            reason = str(kind)
        if not reason and not _is_text(found.parts):
            reason = "a name that is no text"
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            served.append(found)
    return served, left_out


def _resource(root: HeldFolder, found: Found, address: str) -> Resource:
    path = "/".join(found.parts)
    kind = media_type(found.parts[-1])
    if kind == "text/markdown" and found.size > _LONGEST_DOCUMENT:
        kind = "text/plain"
    if kind == "text/markdown":

        def page(content: bytes) -> bytes:
            return document_page(path, content.decode("utf-8", "replace"), address).encode()

        return Resource(_HTML, folder=root, parts=found.parts, policy=POLICY, page=page)
    # What a browser might run is saved, not shown; a picture with scripts is in a sandbox.
    shown = kind in _SHOWN or kind == "image/svg+xml"
    name = "" if shown else found.parts[-1]
    media = kind + _UTF8 if kind.startswith("text/") else kind
    return Resource(media, folder=root, parts=found.parts, save_as=name)


def _name(folder: Path) -> str:
    """What guests read of a folder: its name, and of one named by a time the name above it."""
    return f"{folder.parent.name} {folder.name}" if is_time_name(folder.name) else folder.name


def _address(name: str, taken: Collection[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    names = (plain if count == 1 else f"{plain}-{count}" for count in range(1, len(taken) + 2))
    return next(address for each in names if (address := f"/{each}/") not in taken)


def _is_text(parts: Sequence[str]) -> bool:
    try:
        "/".join(parts).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
