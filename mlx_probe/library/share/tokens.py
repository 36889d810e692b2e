"""Tokens of guests: a name, an id and an end, signed with a secret of this machine's user.

A token is ``mps1.NAME.ID.EXPIRES.MAC``: ID is random, EXPIRES in seconds since 1970, and MAC the
HMAC-SHA256 of all before it. Nothing that is kept lets anyone make one but the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.library.share.folder import locked, unusable

__all__ = ["GUEST_NAME", "TOKEN", "Token", "load_secret", "read_token", "sign"]

GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
# Anything that looks like one, for what hides them.
TOKEN = re.compile(r"mps1\.[A-Za-z0-9_.-]*")
_WHOLE = re.compile(r"mps1\.([A-Za-z0-9_-]{1,32})\.([0-9a-f]{16})\.(\d{1,12})\.([A-Za-z0-9_-]{43})")
_BYTES = 32


@dataclass(frozen=True)
class Token:
    """A token whose signature is right; whether it is still good is another question.

    Attributes:
        guest: The guest's name.
        id: Its id among the guest's tokens.
        expires: When it ends, in seconds since 1970.
    """

    guest: str
    id: str
    expires: int


def sign(secret: bytes, token: Token) -> str:
    """The text of a token."""
    text = f"mps1.{token.guest}.{token.id}.{token.expires}"
    mac = hmac.new(secret, text.encode("ascii"), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def read_token(secret: bytes, text: str) -> Token | None:
    """A token from its text; None unless we signed exactly this text."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    token = Token(match[1], match[2], int(match[3]))
    # Compared as a whole: neither the time nor a second spelling of the same bytes tells anything.
    return token if hmac.compare_digest(sign(secret, token).encode(), text.encode()) else None


def load_secret(folder: Path) -> bytes:
    """The secret; made if there is none.

    Args:
        folder: `share_folder`.

    Raises:
        ResultError: It cannot be read or made, others may read it, or it is damaged.
    """
    path = folder / "secret"
    with locked(folder):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
            try:
                mode = os.fstat(descriptor)
                content = os.read(descriptor, 4 * _BYTES)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return _made(path)
        except OSError as error:
            raise unusable(path, error) from error
    if not stat.S_ISREG(mode.st_mode) or mode.st_mode & 0o077 or mode.st_uid != os.geteuid():
        raise ResultError(
            f"others may read {path}, which signs the tokens of guests",
            "Delete it, which ends all tokens; the next one makes a new secret",
        )
    if len(content) != _BYTES:
        raise ResultError(
            f"{path} is damaged: {len(content)} bytes instead of {_BYTES}",
            "Delete it, which ends all tokens; the next one makes a new secret",
        )
    return content


def _made(path: Path) -> bytes:
    secret = secrets.token_bytes(_BYTES)
    temporary = path.with_name(".secret.tmp")
    try:
        # Left by a killed process, which held the lock.
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise unusable(path, error) from error
    return secret
