"""Large weight files: known by path, size and hash instead of being copied into the archive.

The catalog is imported where it is needed: it takes longer than a backup of nothing new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import CheckpointError, ProbeError
from mlx_probe.core.formats import format_of

from .config import LARGE, BackupConfig
from .records import Entry
from .walk import Seen

if TYPE_CHECKING:
    from mlx_probe.library.catalog.hashing import FileIdentity

__all__ = ["WeightCheck", "WeightFiles", "check_weights", "is_weights"]


def is_weights(path: Path, size: int, large: int = LARGE) -> bool:
    """Whether a file is weights that are kept by reference.

    It is large, is named as weights are, and its header reads as that of weights: a name alone
    is no reason to leave a file out.

    Args:
        path: The file.
        size: Its bytes.
        large: Smallest size of those that are.
    """
    if size < max(large, 1):
        return False
    form = format_of(path.suffix)
    if path.suffix and (form is None or any(fnmatch(path.name, g) for g in form.not_weights)):
        return False
    from mlx_probe.checkpoint.formats import read_header
    from mlx_probe.checkpoint.formats.safetensors import read_header as read_safetensors

    try:
        if path.suffix:
            return bool(read_header(path).tensors)
        # The Hub's cache and Ollama name files by their hashes.
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return True
            file.seek(0)
            return bool(read_safetensors(path, file, size).tensors)
    except (CheckpointError, OSError):
        return False


class WeightFiles:
    """Recognizes weight files and makes their entries.

    Args:
        config: Says which weights are kept by reference, and where the catalog is, which knows
            where models come from and has hashes; it may be missing.
        on_bytes: Called with bytes that were hashed.
    """

    def __init__(
        self, config: BackupConfig, on_bytes: Callable[[int], None] = lambda count: None
    ) -> None:
        self._config, self._on_bytes = config, on_bytes
        self._origins: dict[str, Mapping[str, str]] | None = None
        self._hashes: dict[FileIdentity, str] = {}

    def is_reference(self, seen: Seen) -> bool:
        """Whether a file is weights that are not stored."""
        return stat.S_ISREG(seen.status.st_mode) and is_weights(
            Path(seen.path), seen.status.st_size, self._config.large
        )

    def entry(self, seen: Seen, plain: Entry, before: Entry | None) -> Entry:
        """What a snapshot has of a weight file.

        Args:
            seen: The file.
            plain: Its entry without hash and origin.
            before: Its entry in an earlier snapshot, if it has not changed since.

        Raises:
            OSError: It cannot be read, or changes.
        """
        from mlx_probe.library.catalog.hashing import hash_file, identify

        self._load()
        sha256 = before.sha256 if before is not None else self._hashes.get(identify(seen.status))
        if not sha256:
            sha256, _ = hash_file(Path(seen.path), self._on_bytes)
        origin = (self._origins or {}).get(os.path.realpath(seen.path), {})
        return Entry(**{**plain.describe(), "type": "weights", "sha256": sha256, "origin": origin})

    def _load(self) -> None:
        if self._origins is not None:
            return
        self._origins = {}
        if not self._config.catalog.exists():
            return
        from mlx_probe.library.catalog.database import open_database
        from mlx_probe.library.catalog.hashing import known_hashes
        from mlx_probe.library.catalog.models import load_models

        # A catalog that cannot be read costs the origins, and no backup.
        with (
            suppress(ProbeError),
            open_database(self._config.catalog, read_only=True) as database,
        ):
            self._hashes = known_hashes(database)
            for model in load_models(database):
                origin = {"model": model.id, "revision": model.revision, "url": model.url}
                if not model.url and model.revision in ("", "local"):
                    continue
                for file in model.files:
                    path = os.path.realpath(file.path)
                    self._origins[path] = {k: v for k, v in origin.items() if v}


@dataclass(frozen=True)
class WeightCheck:
    """Weights that a snapshot knows by their hash, after a restore.

    Attributes:
        entry: What the snapshot has.
        path: Where they were.
        state: "there", "changed" or "missing" at that path.
    """

    entry: Entry
    path: Path
    state: str

    def describe(self) -> dict[str, object]:
        """For --json."""
        return {
            "path": os.fspath(self.path),
            "size": self.entry.size,
            "sha256": self.entry.sha256,
            "state": self.state,
            "origin": dict(self.entry.origin),
        }


def check_weights(
    entries: Iterable[Entry], base: str, on_path: Callable[[Path], None] = lambda path: None
) -> list[WeightCheck]:
    """Whether weights that were not stored are still where they were, by their hashes."""
    checks = []
    from mlx_probe.library.catalog.hashing import hash_file

    for entry in entries:
        path = Path(base, entry.path)
        on_path(path)
        try:
            is_same = path.stat().st_size == entry.size and hash_file(path)[0] == entry.sha256
            state = "there" if is_same else "changed"
        except OSError:
            state = "missing"
        checks.append(WeightCheck(entry, path, state))
    return checks
