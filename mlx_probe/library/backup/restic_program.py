"""Running restic: its password, its output, its end together with ours."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError

from .records import ArchiveDamage

__all__ = ["KEY_FILE", "Program", "has_restic", "has_sound_key", "make_key"]

# In the archive: a backup whose password was on the lost disk is lost.
KEY_FILE = "mlx-probe.key"
_PASSWORDS = ("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND")
_CHECK = 16
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl


def has_restic() -> bool:
    """Whether restic can be started."""
    return shutil.which("restic") is not None


def make_key(root: Path) -> None:
    """Write a random password into an archive, unless the environment has one.

    Raises:
        OSError: The disk refused.
    """
    path = root / KEY_FILE
    if path.exists() or any(os.environ.get(name) for name in _PASSWORDS):
        return
    key = secrets.token_hex(32)
    text = f"{key}-{_check(key)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def has_sound_key(root: Path) -> bool | None:
    """Whether the key file is as it was written; None if there is none."""
    try:
        key, _, check = (root / KEY_FILE).read_text("ascii").partition("-")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return False
    return len(key) == 64 and check == _check(key)


def _check(key: str) -> str:
    return hashlib.sha256(key.encode("ascii")).hexdigest()[:_CHECK]


class Program:
    """restic on one archive.

    Args:
        root: The archive.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def run(
        self,
        *words: str,
        folder: Path | None = None,
        given: bytes | None = None,
        ok: Sequence[int] = (0,),
        keep: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of restic to its end.

        Args:
            words: The command and its options.
            folder: Where it is started.
            given: What it reads.
            ok: Exit codes that are no failure.
            keep: Descriptors that it keeps open, for their locks.

        Raises:
            ResultError: It cannot be started, or failed.
        """
        try:
            done = subprocess.run(
                ["restic", "-r", os.fspath(self._root.absolute()), *words],
                cwd=folder,
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                check=False,
                env=self._environment(),
                pass_fds=keep,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            raise ResultError(
                f"{self._root} is an archive of restic, and restic cannot be started: "
                f"{os.strerror(error.errno or 0)}",
                "Install restic (brew install restic, apt install restic)",
            ) from error
        if done.returncode not in ok:
            raise self.failure(words[0], done)
        return done

    def json(self, *words: str) -> Any:
        """The document that a command prints.

        Raises:
            ResultError: It failed, or printed none.
        """
        done = self.run(*words, "--json")
        try:
            return json.loads(done.stdout or b"null")
        except ValueError as error:
            raise ResultError(
                f"restic {words[0]} printed no JSON", "Update restic to 0.14 or newer"
            ) from error

    def unlock(self) -> None:
        """Remove locks whose processes are gone."""
        self.run("unlock", ok=range(256))

    def _environment(self) -> Mapping[str, str]:
        variables = dict(os.environ)
        key = self._root / KEY_FILE
        # The key that the archive was made with, whatever the environment says now.
        if key.exists():
            for name in _PASSWORDS:
                variables.pop(name, None)
            variables["RESTIC_PASSWORD_FILE"] = os.fspath(key.absolute())
        return variables

    def failure(self, command: str, done: subprocess.CompletedProcess[bytes]) -> ResultError:
        """Why a command ended as it did."""
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = next(
            (each for each in lines if each.startswith("Fatal")), lines[-1] if lines else ""
        )
        said = said or f"exit code {done.returncode}"
        if "no password" in said.lower() or "empty password" in said.lower():
            return ResultError(
                f"{self._root} is an archive of restic, which needs its password",
                "Set RESTIC_PASSWORD_FILE or RESTIC_PASSWORD",
            )
        if "wrong password" in said or "no key found" in said:
            if has_sound_key(self._root) is False:
                return ArchiveDamage(
                    f"{self._root / KEY_FILE} is damaged: it is not what was written",
                    "Put a copy of that file back: the archive cannot be read without it",
                )
            return ResultError(
                f"the password of {self._root} is another one",
                "Set RESTIC_PASSWORD_FILE or RESTIC_PASSWORD to that of this archive",
            )
        return ResultError(
            f"restic {command} failed: {said}",
            "Run `mlx-probe backup verify`, or restic itself, for more",
        )


def _die_with_parent() -> Callable[[], None] | None:
    """Where the system can: a killed mlx-probe leaves no restic that goes on writing."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_DIES_WITH_PARENT, signal.SIGKILL) and None
