"""One request for a part of a file, and the checks that the answer is that part."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.request import Address, is_safe_url
from mlx_probe.source.transfer.retry import retry_after

if TYPE_CHECKING:
    from huggingface_hub.errors import HTTPError, Response  # type: ignore[attr-defined]

__all__ = [
    "Answer",
    "LostError",
    "OtherPartError",
    "RefusedError",
    "asked",
]

_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+)|\*)/(?P<total>\d+|\*)")
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class LostError(Exception):
    """No answer, or an answer that broke off; another try may succeed.

    Args:
        reason: What happened.
        asked: Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, asked: float | None = None) -> None:
        super().__init__(reason)
        self.asked = asked


class OtherPartError(LostError):
    """A part of the file that was not asked for, or a part of another file."""


class RefusedError(Exception):
    """An answer that another try would not change, or that is about another file."""


@dataclass(frozen=True)
class Answer:
    """An answer about the right file.

    Attributes:
        start: Position in the file of the answer's first byte.
        size: Bytes of the whole file; None if the server does not say.
        pieces: The bytes; raises `LostError` where they break off.
        etag: What the server calls this version of the file; None if it does not say.
        whole: Whether the answer is the whole file, although a part may have been asked for.
    """

    start: int
    size: int | None
    pieces: Iterator[bytes]
    etag: str | None = None
    whole: bool = False


@contextmanager
def asked(
    file: PublishedFile, address: Address, start: int, stop: int | None, timeout: float | None
) -> Iterator[Answer]:
    """Ask for a part of a file.

    Args:
        file: The file.
        address: The server to ask.
        start: First byte.
        stop: One past the last byte; None for the end of the file.
        timeout: Seconds without a byte after which to give up; None for huggingface_hub's setting.

    Raises:
        LostError: No answer now.
        RefusedError: No such file there, no access, or another file.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        raise RefusedError("HF_HUB_OFFLINE is set")
    # A range of a compressed answer is no range of the file.
    headers = {**address.headers, "Accept-Encoding": "identity"}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if address.validator is not None and not address.validator.startswith("W/"):
            headers["If-Range"] = address.validator
    try:
        with get_session().stream(
            "GET",
            address.url,
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT if timeout is None else timeout,
            follow_redirects=True,
        ) as response:
            _check_status(response)
            _check_origin(file, address, response)
            yield _answer(file, start, response)
    except HTTPError as error:
        raise LostError(_why(error)) from error


def _check_status(response: Response) -> None:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    status = response.status_code
    if status in _TEMPORARY or status >= 500:
        raise LostError(f"HTTP status {status}", retry_after(response.headers.get("Retry-After")))
    if status in (200, 206, 416):
        return
    try:
        # Gives the Hub's own reasons: gated, private, no such revision.
        hf_raise_for_status(response)
    except HfHubHTTPError as error:
        raise RefusedError(f"HTTP status {status}") from error
    raise RefusedError(f"HTTP status {status}")


def _check_origin(file: PublishedFile, address: Address, response: Response) -> None:
    """Refuse another revision or another file before any byte is read."""
    from huggingface_hub import constants

    chain = [*response.history, response]
    if address.loopback_or_https:
        for step in chain:
            if not is_safe_url(str(step.url)):
                raise RefusedError("it leads to an address that is neither https nor local")
    for step in chain:
        commit = step.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
        if address.commit and commit and commit != address.commit:
            raise RefusedError(f"it serves commit {commit[:40]}, not {address.commit}")
        etag = (step.headers.get(constants.HUGGINGFACE_HEADER_X_LINKED_ETAG) or "").strip('"')
        # Mirrors have ETags of other kinds; only one of the same kind can be compared.
        if file.etag and etag != file.etag and re.fullmatch(f"[0-9a-f]{{{len(file.etag)}}}", etag):
            raise RefusedError(f"it serves another file: {etag}, not {file.etag}")
        size = step.headers.get(constants.HUGGINGFACE_HEADER_X_LINKED_SIZE) or ""
        if file.size is not None and size.isdecimal() and int(size) != file.size:
            raise RefusedError(f"its file has {size} bytes, not {file.size}")
    version = response.headers.get("ETag")
    if address.validator is not None and version not in (None, address.validator):
        raise RefusedError("the file there has changed")


def _answer(file: PublishedFile, start: int, response: Response) -> Answer:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise LostError("a compressed answer, which was not asked for")
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    length = response.headers.get("Content-Length", "")
    if response.status_code == 200:
        # The whole file, although a part may have been asked for.
        first, total = 0, int(length) if length.isdecimal() else None
    elif match is None:
        raise OtherPartError("an answer that does not say which part of the file it is")
    else:
        # Only a refusal (416) has no range.
        first = -1 if match["first"] is None else int(match["first"])
        total = None if match["total"] == "*" else int(match["total"])
    if file.size is not None and total not in (None, file.size):
        # Another try may help: proxies cut answers short and give the length of the rest.
        raise OtherPartError(f"its file has {total} bytes, not {file.size}")
    if response.status_code == 416:
        if file.size is None and total == start:
            return Answer(start, total, iter(()))
        raise LostError(f"it has nothing from byte {start} on")
    if response.status_code == 206 and first != start:
        raise OtherPartError("another part of the file than was asked for")
    whole = response.status_code == 200
    return Answer(first, total, _pieces(response), response.headers.get("ETag"), whole)


def _pieces(response: Response) -> Iterator[bytes]:
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield from response.iter_bytes()
    except HTTPError as error:
        raise LostError(_why(error)) from error


def _why(error: HTTPError) -> str:
    """The kind of failure. Not its message, which may quote a signed address."""
    return {
        "ReadTimeout": "no byte came in time",
        "ConnectTimeout": "no connection in time",
        "ConnectError": "no connection",
        "RemoteProtocolError": "the connection broke off",
        "ReadError": "the connection broke off",
    }.get(type(error).__name__, type(error).__name__)
