"""Models on the Hugging Face Hub of which only the headers are read, range by range.

Not through huggingface_hub's file system: from a server that ignores ranges it would take the
whole file as the answer.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from mlx_probe.errors import ConfigError, SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.hub import choose
from mlx_probe.source.hub_cache import CachePlace
from mlx_probe.source.hub_errors import explained
from mlx_probe.source.hub_listing import default_endpoint, list_repository

if TYPE_CHECKING:
    from huggingface_hub.errors import HTTPError, Response  # type: ignore[attr-defined]

__all__ = ["HEAD", "RemoteFile", "RemoteOpener", "fetch"]

# Asked for at once, whatever of it is wanted: a shard's header is mostly shorter.
HEAD = 1 << 16
# Requests for one range, each going on where the connection before it was lost.
_TRIES = 5
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")


def fetch(ref: ModelRef, quiet: bool = False) -> ModelFiles:
    """Fetch a model's index and config; its weight files stay on the Hub.

    Endpoint and token are huggingface_hub's, as for downloads. Everything is read from the
    commit that the revision means now.

    Args:
        ref: Repository, revision (None for the default branch), file to pick among several.
        quiet: Whether to draw no progress bars.

    Returns:
        Files whose ``weights`` are the paths they would have in the cache, and whose
        ``opener`` is a `RemoteOpener`.

    Raises:
        ConfigError: HF_HUB_OFFLINE is set.
        SourceError: Repository or revision missing, access denied, or no connection.
        CheckpointError: The sharding index is damaged.
    """
    from huggingface_hub import constants, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise ConfigError(
            f"{ref.text} cannot be read from the Hub while HF_HUB_OFFLINE is set",
            "Unset it, or drop --remote to read the copy in the cache",
        )
    with explained(ref):
        repository = list_repository(ref)
        place = CachePlace(ref.name, repository.commit)
        chosen = choose(repository, ref, place)
    # Where the index lies: it names the shards relative to itself.
    beside = chosen.selection.index or chosen.selection.config
    root = place.folder if beside else Path(ref.name)
    shards = {
        root / name: _Shard(
            f"{ref.name}/{name}",
            hf_hub_url(ref.name, name, revision=repository.commit, endpoint=default_endpoint()),
            repository.sizes[name],
        )
        for name in chosen.weights
    }
    files = chosen.selection.resolve(root, ref.name, repository.commit, Path(ref.name))
    return replace(files, opener=RemoteOpener(ref, shards))


@dataclass(frozen=True)
class _Shard:
    name: str
    url: str
    size: int


class RemoteOpener:
    """Opens a model's weight files on the Hub, from any thread, and counts what is read.

    Args:
        ref: The model, for messages.
        shards: What each of `ModelFiles.weights` is on the Hub.

    Attributes:
        fetched: Bytes of weight files that have come over the network.
    """

    def __init__(self, ref: ModelRef, shards: Mapping[Path, _Shard]) -> None:
        self.fetched = 0
        self._ref = ref
        self._shards = dict(shards)
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> BinaryIO:
        """Open one of the weight files.

        Raises:
            SourceError: As for reading: access denied, no connection, or a server that does
                not serve ranges.
        """
        if not self._shards[path].size:
            # Mirrors of the Hub may leave sizes out; every answer tells it.
            self.read(path, 0, HEAD)
        return cast(BinaryIO, RemoteFile(self, path, self._shards[path].size))

    @property
    def sizes(self) -> dict[Path, int]:
        """Bytes of each weight file; 0 where a mirror of the Hub leaves it out."""
        return {path: shard.size for path, shard in self._shards.items()}

    @property
    def size(self) -> int:
        """Bytes of all weight files together."""
        return sum(shard.size for shard in self._shards.values())

    def read(self, path: Path, first: int, last: int) -> bytes:
        """Bytes ``first`` to ``last`` (exclusive) of a weight file, fewer where it ends.

        Raises:
            SourceError: Access denied, no connection, or a server that does not serve ranges.
        """
        data = bytearray()
        with explained(self._ref):
            for _ in range(_TRIES):
                lost = self._request(path, first, last, data)
                last = min(last, self._shards[path].size)
                if first + len(data) == last:
                    return bytes(data)
            if lost is not None:
                raise lost
        raise SourceError(
            f"{self._shards[path].name}: the Hub sent {len(data)} bytes of {last - first}",
            "Run the same command again",
        )

    def _request(self, path: Path, first: int, last: int, data: bytearray) -> HTTPError | None:
        """Append what is missing of a range; returns how the connection was lost, if it was."""
        from huggingface_hub import constants
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            hf_raise_for_status,
            http_stream_backoff,
        )

        start = first + len(data)
        # Ranges of a compressed answer would be ranges of other bytes.
        wanted = {"Range": f"bytes={start}-{last - 1}", "Accept-Encoding": "identity"}
        with http_stream_backoff(
            "GET",
            self._shards[path].url,
            headers=build_hf_headers(headers=wanted),
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        ) as response:
            hf_raise_for_status(response)
            self._check_range(path, start, last, response)
            try:
                for chunk in response.iter_bytes():
                    with self._lock:
                        self.fetched += len(chunk)
                    data += chunk
                    if first + len(data) > last:
                        raise self._no_ranges(path)
            except HTTPError as error:
                # Not let out: around it are retries that cannot begin in the middle.
                return error
        return None

    def _check_range(self, path: Path, first: int, last: int, response: Response) -> None:
        """Refuse an answer that is not the range, before its body is read; learn the size."""
        shard = self._shards[path]
        if response.status_code == 200 and (first, last) == (0, shard.size):
            return
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code != 206 or match is None or int(match["first"]) != first:
            raise self._no_ranges(path)
        total = shard.size if match["total"] == "*" else int(match["total"])
        if not total:
            raise self._no_ranges(path)
        if shard.size not in (0, total):
            raise SourceError(
                f"{shard.name} has {total} bytes; the Hub says {shard.size}",
                "Check HF_ENDPOINT, or report it to the model's authors",
            )
        with self._lock:
            self._shards[path] = replace(shard, size=total)

    def _no_ranges(self, path: Path) -> SourceError:
        return SourceError(
            f"{self._shards[path].name}: the server does not send the range that was asked for",
            "Drop --remote to download the model, or check HF_ENDPOINT and the proxy",
        )


class RemoteFile(io.BufferedIOBase):
    """A file on the Hub, open for reading.

    Only the head is read ahead. Beyond it every call is a request for exactly its bytes: the
    readers of headers read ahead as suits their formats.

    Args:
        opener: Fetches the bytes.
        path: The file, as ``opener`` knows it.
        size: Its bytes.
    """

    def __init__(self, opener: RemoteOpener, path: Path, size: int) -> None:
        self._opener, self._path, self._size = opener, path, size
        self._position = 0
        self._head = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always, at no cost."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, beyond the end too; see `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"{self._path}: seek to {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes, or to the end; fewer only where the file ends.

        Raises:
            SourceError: See `RemoteOpener.read`.
            ValueError: The file is closed.
        """
        if self.closed:
            raise ValueError(f"{self._path}: read after close")
        first = self._position
        last = self._size if size is None or size < 0 else min(first + size, self._size)
        if first >= last:
            return b""
        if first < HEAD and not self._head:
            self._head = self._opener.read(self._path, 0, min(HEAD, self._size))
        data = self._head[first:last]
        if first + len(data) < last:
            data += self._opener.read(self._path, first + len(data), last)
        self._position = last
        return data
