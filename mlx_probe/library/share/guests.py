"""The guests: which tokens were made for whom, until when, and which of them were taken back."""

from __future__ import annotations

import difflib
import json
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import atomic_replace
from mlx_probe.library.share.folder import locked, share_folder, unusable
from mlx_probe.library.share.tokens import GUEST_NAME, Token, load_secret, read_token, sign

__all__ = [
    "Guests",
    "Invitation",
    "check_name",
    "invitations",
    "invite",
    "refuse_nobody",
    "revoke",
]

_VERSION = 1
_LONGEST = 366 * 86400


@dataclass(frozen=True)
class Invitation:
    """A token that was made; the token itself is not kept.

    Attributes:
        guest: Whom it is for.
        id: Its id.
        created: When it was made, in seconds since 1970.
        expires: When it ends.
        revoked: When it was taken back; None if it was not.
    """

    guest: str
    id: str
    created: int
    expires: int
    revoked: int | None = None

    def is_good(self, now: float) -> bool:
        """Whether its token opens anything."""
        return self.revoked is None and now < self.expires


def invite(guest: str, seconds: int, folder: Path | None = None) -> tuple[str, Invitation]:
    """Make a token for a guest.

    Args:
        guest: The guest's name.
        seconds: How long it is good.
        folder: `share_folder`, or another.

    Returns:
        The token, which is not kept, and what is kept of it.

    Raises:
        ConfigError: The name or the time makes no sense.
        ResultError: The folder cannot be written, or what it holds is damaged.
    """
    folder = folder or share_folder()
    check_name(guest)
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(
            "a token is good for at least a second and at most 366 days",
            "Give --expires such as 12h or 7d",
        )
    secret = load_secret(folder)
    now = int(time.time())
    made = Invitation(guest, secrets.token_hex(8), now, now + seconds)
    with locked(folder):
        _write(folder, [*invitations(folder), made])
    return sign(secret, Token(guest, made.id, made.expires)), made


def check_name(guest: str) -> None:
    """Refuse what is no name for a guest.

    Raises:
        ConfigError: It is none.
    """
    if GUEST_NAME.fullmatch(guest) is None:
        raise ConfigError(
            f"{guest!r} is no name for a guest",
            "Use 1 to 32 of the characters A-Z, a-z, 0-9, _ and -, a letter or digit first",
        )


def refuse_nobody(folder: Path, only: Collection[str] | None) -> None:
    """Refuse to wait for guests where nobody has a token.

    Args:
        folder: `share_folder`.
        only: Names of those who may look; None for every guest.

    Raises:
        ConfigError: Nobody has one that is good.
        ResultError: The list of guests cannot be read.
    """
    now = time.time()
    good = [each for each in invitations(folder) if each.is_good(now)]
    if not any(only is None or each.guest in only for each in good):
        raise ConfigError(
            "nobody could look: no guest has a token",
            "Name one with --guest NAME, or run `mlx-probe share token NAME` first",
        )


def revoke(guest: str, folder: Path | None = None) -> list[Invitation]:
    """Take all tokens of a guest back, also from servers that run.

    Returns:
        Those that were good until now.

    Raises:
        ConfigError: No token was ever made for this name.
        ResultError: The folder cannot be written, or what it holds is damaged.
    """
    folder, now = folder or share_folder(), time.time()
    with locked(folder):
        known = invitations(folder)
        names = sorted({each.guest for each in known})
        if guest not in names:
            near = difflib.get_close_matches(guest, names, 1)
            meant = f"Did you mean {near[0]}?" if near else "`mlx-probe share guests` lists them"
            raise ConfigError(f"no token was made for {guest!r}", meant)
        ended = [each for each in known if each.guest == guest and each.is_good(now)]
        ids = {each.id for each in ended}
        _write(folder, [replace(e, revoked=int(now)) if e.id in ids else e for e in known])
    return ended


def invitations(folder: Path | None = None) -> list[Invitation]:
    """All tokens that were made, the oldest first.

    Raises:
        ResultError: The file cannot be read, or is damaged.
    """
    path = (folder or share_folder()) / "guests.json"
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(path, error) from error
    except ValueError as error:
        raise _damaged(path) from error
    try:
        if content["version"] != _VERSION:
            raise _damaged(path)
        made = [Invitation(**entry) for entry in content["tokens"]]
        for each in made:
            numbers = (each.created, each.expires, each.revoked or 0)
            if not all(type(number) is int for number in numbers) or type(each.id) is not str:
                raise _damaged(path)
            if GUEST_NAME.fullmatch(each.guest) is None:
                raise _damaged(path)
    except (KeyError, TypeError) as error:
        raise _damaged(path) from error
    return made


def _write(folder: Path, made: Sequence[Invitation]) -> None:
    path = folder / "guests.json"
    content = {"version": _VERSION, "tokens": [asdict(each) for each in made]}
    try:
        with atomic_replace(path) as temporary:
            temporary.touch(0o600)
            temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise unusable(path, error) from error


def _damaged(path: Path) -> ResultError:
    return ResultError(
        f"{path} is damaged",
        "Delete it, which ends all tokens, and make new ones by `mlx-probe share token NAME`",
    )


class Guests:
    """Who may look: asked for each request, so that what is taken back ends at once.

    Args:
        folder: `share_folder`.
        only: Names of those who may; None for every guest with a good token.

    Raises:
        ResultError: There is no secret, and none can be made.
    """

    def __init__(self, folder: Path, only: Collection[str] | None = None) -> None:
        self._folder, self._only = folder, only
        self._secret = load_secret(folder)
        self._stamp: tuple[int, ...] | None = None
        self._known: dict[str, Invitation] = {}

    def admit(self, text: str) -> tuple[Token | None, str]:
        """The token of a text, or None and why it opens nothing."""
        token = read_token(self._secret, text)
        if token is None:
            return None, "token forged"
        now = time.time()
        if now >= token.expires:
            return None, "token expired"
        try:
            made = self._current().get(token.id)
        except (OSError, ResultError):
            # Nobody knows whether it was taken back.
            return None, "guests unreadable"
        if made is None or not made.is_good(now):
            return None, "token revoked"
        if self._only is not None and token.guest not in self._only:
            return None, "guest not invited"
        return token, ""

    def text_of(self, token: Token) -> str:
        """The text of a token that was admitted."""
        return sign(self._secret, token)

    def _current(self) -> dict[str, Invitation]:
        path = self._folder / "guests.json"
        try:
            state = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (state.st_ino, state.st_size, state.st_mtime_ns)
        if stamp != self._stamp:
            known = {each.id: each for each in invitations(self._folder)}
            # The stamp last: another thread that sees it finds the new ones.
            self._known, self._stamp = known, stamp
        return self._known
