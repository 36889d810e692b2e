"""Archives of restic, with what it lacks: weights by reference, drills, damaged files by name."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, ClassVar

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import sha256_file

from .config import BackupConfig, Progress
from .drill import DrillConfig, choose_snapshot, keep_report
from .live import compare_live
from .records import (
    Created,
    Damage,
    Drill,
    Entry,
    LeftOut,
    Pruning,
    Restored,
    Snapshot,
    Verification,
    now,
)
from .restic_look import look
from .restic_program import KEY_FILE, Program, has_sound_key, make_key
from .restic_text import message_of, pattern_of, snapshot_of, tags_of
from .retention import Keep, choose
from .sealed import unseal
from .store import disk_error
from .target import restoring
from .walk import Roots

__all__ = ["Restic"]

# Tags of our snapshots: what they have, and which other one lists their weights.
_OURS, _LISTS = "mlx-probe", "mlx-probe-weights"
_LIST = "mlx-probe-weights.json"
# Folders of an archive whose files are named by their hashes.
_HASHED = ("data", "index", "keys", "snapshots")


class Restic:
    """An archive of restic.

    Args:
        root: Its folder.
    """

    kind: ClassVar[str] = "restic"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._program = Program(root)

    @classmethod
    def is_at(cls, root: Path) -> bool:
        """Whether a folder is one."""
        return (root / "config").is_file() and (root / "keys").is_dir()

    @classmethod
    def make(cls, root: Path) -> Restic:
        """Make one.

        Raises:
            ResultError: The folder has other files, or restic failed.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in root.iterdir()} - {KEY_FILE, "data", "keys"}
            names -= {"index", "locks", "snapshots", "config"}
            if names - {".DS_Store"}:
                raise ResultError(
                    f"{root} is no backup archive, and not empty",
                    "Choose a new or empty folder with --repo",
                )
            # A killed one left no config: its keys would be refused.
            for name in ("data", "keys", "index", "locks", "snapshots"):
                if (root / name).is_dir():
                    shutil.rmtree(root / name)
            make_key(root)
        except OSError as error:
            raise disk_error(root, error) from error
        made = cls(root)
        made._program.run("init")
        return made

    def create(self, roots: Roots, config: BackupConfig, progress: Progress) -> Created:
        """Make a snapshot by ``restic backup``; large weights go into a list of their own.

        Raises:
            ResultError: restic failed.
        """
        # Each start of restic takes half a second for the password alone.
        found = look(roots, self.root, config, self._known_weights, progress)
        began = now()
        tags = [_OURS, f"files={found.files}", f"bytes={found.size}"]
        if found.weights:
            listed = self._keep_list(found.weights)
            total = sum(each.size for each in found.weights)
            tags += [f"list={listed}", f"weights={len(found.weights)}", f"referenced={total}"]
        words = ["backup", "--json", "--tag", ",".join(tags)]
        words += ["--force"] if config.rescan else []
        with tempfile.NamedTemporaryFile("wb", prefix="mlx-probe-") as excluded:
            inside = [self.root.resolve()] if _is_inside(self.root, roots) else []
            paths = [*inside, *(roots.base / each.path for each in found.weights)]
            excluded.write(b"".join(os.fsencode(f"{pattern_of(path)}\n") for path in paths))
            excluded.flush()
            names = [roots.below_base(path) for path in roots.paths]
            words += ["--exclude-file", excluded.name, "--", *names]
            done = self._program.run(*words, folder=roots.base, ok=(0, 3))
        summary: dict[str, Any] = {}
        left_out = [each for each in found.left_out if not each.is_lost]
        for line in (*done.stdout.splitlines(), *done.stderr.splitlines()):
            message = message_of(line)
            if message.get("message_type") == "summary":
                summary = message
            elif message.get("message_type") == "error":
                error = message.get("error") or {}
                why = str(error.get("message") or error.get("Err") or error or "unreadable")
                left_out.append(LeftOut(str(message.get("item", "")), why))
        if done.returncode == 3 and not any(each.is_lost for each in left_out):
            left_out += [each for each in found.left_out if each.is_lost] or [
                LeftOut(os.fspath(roots.base), "restic could not read a file")
            ]
        snapshot = Snapshot(
            *(self._whole_id(str(summary.get("snapshot_id", ""))), began, os.fspath(roots.base)),
            *(tuple(map(os.fspath, roots.paths)), found.totals(), "restic"),
        )
        read = int(summary.get("files_new", 0)) + int(summary.get("files_changed", 0))
        return Created(
            *(snapshot, read, int(summary.get("data_added", 0))),
            *(tuple(left_out), tuple(found.weights)),
        )

    def snapshots(self) -> tuple[list[Snapshot], list[str]]:
        """Snapshots by time; restic refuses all if one is damaged.

        Raises:
            ResultError: restic failed.
        """
        return _listed(self._rows()), []

    def verify(self, progress: Progress) -> Verification:
        """``restic check --read-data``, and the hash of every file, which names the damaged one.

        Raises:
            ResultError: restic cannot be started.
        """
        damage, files, size = [], 0, 0
        if has_sound_key(self.root) is False:
            damage.append(Damage(KEY_FILE, "it is not what was written"))
        for path in sorted((self.root / "drills").glob("*.json")):
            try:
                unseal(path.read_bytes())
            except (OSError, ValueError) as error:
                damage.append(Damage(f"drills/{path.name}", str(error)))
        for folder in _HASHED:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file():
                    progress.on_path(path)
                    digest = sha256_file(path)
                    files, size = files + 1, size + path.stat().st_size
                    if digest != path.name:
                        name = os.fspath(path.relative_to(self.root))
                        damage.append(Damage(name, "its hash is not its name"))
        count = 0
        try:
            self._program.unlock()
            count = len(_listed(self._rows()))
            done = self._program.run("check", "--read-data", ok=range(256))
            damage += _missing(done, {each.file for each in damage})
            if done.returncode and not damage:
                damage.append(Damage("data", self._program.failure("check", done).fact))
        except ResultError as error:
            if not damage:
                # Of all files only this one is not named by its hash.
                is_config = "config" in error.fact or not count
                damage.append(Damage("config" if is_config else "data", error.fact))
        return Verification(tuple(damage), (), count, files, size)

    def restore(self, name: str, out: Path, skip_damaged: bool, progress: Progress) -> Restored:
        """``restic restore`` into a hidden folder that becomes ``out``.

        Raises:
            ConfigError: There is no such snapshot.
            ResultError: restic failed: something is damaged.
        """
        rows = self._rows()
        snapshot = self._find(name, rows)
        listed = next(tags_of(row).get("list") for row in rows if row["id"] == snapshot.id)
        weights = self._read_list(listed) if listed else []
        with restoring(out, snapshot.id) as folder:
            # It goes into a folder of its own: one that a killed restic wrote is begun anew.
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            target = ["--target", os.fspath(folder)]
            done = self._program.run(
                *("restore", snapshot.id, *target, "--verify"), ok=(0, 1) if skip_damaged else (0,)
            )
            lost = [
                LeftOut("", line.decode("utf-8", "replace"))
                for line in done.stderr.splitlines()
                if done.returncode and b"ignoring error" in line
            ]
        files = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        return Restored(snapshot, out, len(files), size, tuple(lost), tuple(weights))

    def prune(self, keep: Keep, is_dry: bool) -> Pruning:
        """``restic forget --prune`` of the snapshots that no rule keeps.

        Raises:
            ResultError: restic failed.
        """
        keep.check()
        if not is_dry:
            self._program.unlock()
        # Snapshots that another program made in this archive are left alone.
        rows = [row for row in self._rows() if {_OURS, _LISTS} & {*(row.get("tags") or ())}]
        kept, removed = choose(_listed(rows), keep)
        stay = {each.id for each, _ in kept}
        needed = {tags_of(row).get("list") for row in rows if row["id"] in stay}
        ids = [each.id for each in removed]
        ids += [
            row["id"]
            for row in rows
            if _LISTS in (row.get("tags") or []) and row["short_id"] not in needed
        ]
        if not is_dry:
            words = ["forget", "--prune", *ids] if ids else ["prune"]
            self._program.run(*words)
        return Pruning(tuple(kept), tuple(removed), None)

    def drill(self, config: DrillConfig, progress: Progress) -> Drill:
        """Restore a random snapshot, or some of its files, and compare with the disk.

        Raises:
            ConfigError: There is no snapshot.
            ResultError: restic cannot be started.
        """
        chance = random.Random(config.seed)
        rows = self._rows()
        if config.snapshot is None:
            snapshot = choose_snapshot(_listed(rows), chance, self.root)
        else:
            snapshot = self._find(config.snapshot, rows)
        done = self._program.run("ls", "--json", snapshot.id)
        nodes = [message_of(line) for line in done.stdout.splitlines()]
        paths = sorted(str(node["path"]) for node in nodes if node.get("type") == "file")
        words = ["restore", snapshot.id, "--verify"]
        if config.files is not None and config.files < len(paths):
            for name in sorted(chance.sample(paths, config.files)):
                words += ["--include", pattern_of(name)]
        failed, same, changed, files, size = [], 0, 0, 0, 0
        with tempfile.TemporaryDirectory(prefix="mlx-probe-drill-", dir=config.scratch) as folder:
            try:
                self._program.run(*words, "--target", folder)
            except ResultError as error:
                failed.append(LeftOut(snapshot.id, error.fact))
            for path in sorted(Path(folder).rglob("*")):
                status = path.lstat()
                if failed or not stat.S_ISREG(status.st_mode):
                    continue
                progress.on_path(path)
                files, size = files + 1, size + status.st_size
                live = Path(snapshot.base) / path.relative_to(folder)
                equal = compare_live(path, live, partial(_is_as_old, status))
                same, changed = same + (equal is True), changed + (equal is None)
                if equal is False:
                    why = "the file on the disk has the same times, but another content"
                    failed.append(LeftOut(os.fspath(live), why))
        counts = (files, size, same, changed, tuple(failed), Path())
        return keep_report(Drill(now(), config.seed, snapshot.id, *counts), self.root / "drills")

    def _rows(self) -> list[dict[str, Any]]:
        return self._program.json("snapshots") or []

    def _find(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Snapshot:
        snapshots = _listed(rows)
        if name == "latest" and snapshots:
            return snapshots[-1]
        fits = [each for each in snapshots if name and each.id.startswith(name)]
        if len(fits) != 1:
            raise ConfigError(
                f"{self.root} has no snapshot {name!r}"
                if not fits
                else f"{len(fits)} snapshots begin with {name!r}",
                "`mlx-probe backup list` shows those that there are; `latest` is the newest one",
            )
        return fits[0]

    def _whole_id(self, short: str) -> str:
        """The id of a snapshot that restic has just made, which it prints shortened."""
        names = [path.name for path in (self.root / "snapshots").glob(f"{short}*")]
        return names[0] if len(names) == 1 else self._find(short, self._rows()).id

    def _keep_list(self, weights: Sequence[Entry]) -> str:
        """Store the list of weights; returns the short id of the snapshot that has it."""
        data = json.dumps([each.describe() for each in weights]).encode("ascii")
        words = ("backup", "--json", "--tag", _LISTS, "--stdin", "--stdin-filename", _LIST)
        done = self._program.run(*words, given=data)
        messages = [message_of(line) for line in done.stdout.splitlines()]
        return str(next(each["snapshot_id"] for each in messages if "snapshot_id" in each))

    def _known_weights(self) -> Mapping[str, Entry]:
        """Weights of the newest list, by absolute path."""
        for row in sorted(self._rows(), key=lambda row: str(row["time"]), reverse=True):
            if listed := tags_of(row).get("list"):
                base = snapshot_of(row).base
                return {f"{base}/{each.path}": each for each in self._read_list(listed)}
        return {}

    def _read_list(self, listed: str) -> list[Entry]:
        done = self._program.run("dump", listed, f"/{_LIST}")
        try:
            return [Entry.read(each) for each in json.loads(done.stdout)]
        except (TypeError, ValueError) as error:
            raise ResultError(
                f"{self.root}: the list of weights {listed} is damaged: {error}",
                "Run `mlx-probe backup verify`",
            ) from error


def _listed(rows: Sequence[Mapping[str, Any]]) -> list[Snapshot]:
    """Snapshots by time, without those that list weights."""
    found = [snapshot_of(row) for row in rows if _LISTS not in (row.get("tags") or [])]
    return sorted(found, key=lambda each: (each.time, each.id))


def _is_as_old(restored: os.stat_result, live: os.stat_result) -> bool:
    return (restored.st_size, restored.st_mtime_ns) == (live.st_size, live.st_mtime_ns)


def _missing(done: CompletedProcess[bytes], known: set[str]) -> list[Damage]:
    """Packs that ``restic check`` names, beside those that are known."""
    if not done.returncode:
        return []
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    named = {
        f"data/{name[:2]}/{name}": line
        for line in lines
        for name in re.findall(r"\bpack ([0-9a-f]{64})", line)
    }
    return [Damage(name, line) for name, line in sorted(named.items()) if name not in known]


def _is_inside(root: Path, roots: Roots) -> bool:
    return any(path in root.resolve().parents for path in roots.paths)
