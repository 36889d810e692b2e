"""From tokens on disk to batches: a deterministic order whose whole state is (seed, position).

An epoch shows each window of `context` + 1 tokens once, in an order that is shuffled anew for each
epoch. Batch number `position` is a function of the seed and the position alone, so that a run that
resumes asks for the next position and nothing else has to be saved.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.manifest import Manifest, SplitName

__all__ = ["Loader", "Prefetcher", "TokenStream", "windows_in_order"]

Tokens = NDArray[np.uint16] | NDArray[np.uint32]


class TokenStream:
    """The tokens of a split as one long sequence, mapped into memory and read when needed.

    Args:
        folder: Written by `tokenize`.
        split: "train" or "validation".
        manifest: The folder's manifest if it was read before; the files are not hashed here.

    Attributes:
        dtype: Of the tokens.
        name: The split and its folder, for messages.

    Raises:
        ResultError: A file is missing or damaged.
    """

    def __init__(self, folder: Path, split: SplitName, manifest: Manifest | None = None) -> None:
        manifest = manifest or Manifest.read(folder, verify=False)
        shards = [shard for shard in manifest.splits[split].shards if shard.tokens]
        self.dtype = np.dtype("<u2" if manifest.dtype == "uint16" else "<u4")
        self.name = f"{split} tokens of {folder}"
        self._parts = [np.memmap(folder / shard.file, self.dtype, "r") for shard in shards]
        # Position of the first token of each shard, and of the end.
        self._starts = np.cumsum([0, *(shard.tokens for shard in shards)], dtype=np.int64)

    def __len__(self) -> int:
        """Tokens."""
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> Tokens:
        """Tokens `start` to `stop` (exclusive), copied; shape (stop - start,).

        Raises:
            IndexError: They are not all there.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{start} to {stop} of {len(self)} {self.name}")
        tokens = np.empty(stop - start, self.dtype)
        shard = int(np.searchsorted(self._starts, start, "right")) - 1
        done = 0
        while done < len(tokens):
            first = start + done - int(self._starts[shard])
            piece = self._parts[shard][first : first + len(tokens) - done]
            tokens[done : done + len(piece)] = piece
            done += len(piece)
            shard += 1
        return tokens


class Loader:
    """Batches of windows in an order shuffled for each epoch.

    Window w holds tokens w * context to (w + 1) * context, both included: inputs and targets are
    its first and last `context` tokens, and every token but the stream's first is a target once.
    Sequence s of position p is window number p * batch + s of the endless row of epochs. A batch
    may hold windows of two epochs, or of many where the stream is short.

    Args:
        stream: The tokens.
        batch: Sequences in a batch.
        context: Tokens that a model sees.
        seed: Of the order.

    Attributes:
        windows: Windows in an epoch.

    Raises:
        ConfigError: The stream is shorter than one window.
    """

    def __init__(self, stream: TokenStream, batch: int, context: int, seed: int) -> None:
        self.windows = _count_windows(stream, context)
        self._stream, self._batch, self._context, self._seed = stream, batch, context, seed
        # Order of the two epochs that were used last: a batch may hold windows of both.
        self._orders: dict[int, NDArray[np.uint32]] = {}

    def epoch_at(self, position: int) -> float:
        """Epochs that are over before this position."""
        return position * self._batch / self.windows

    def batch_at(self, position: int, rank: int = 0, world: int = 1) -> Tokens:
        """The sequences of a position.

        Args:
            position: 0 or more; without an end.
            rank: Which process this is.
            world: Processes of a data-parallel run. Each takes every world-th sequence; together
                they have the batch of one process.

        Returns:
            Shape (len(range(rank, batch, world)), context + 1).
        """
        numbers = range(position * self._batch + rank, (position + 1) * self._batch, world)
        tokens = np.empty((len(numbers), self._context + 1), self._stream.dtype)
        for row, number in enumerate(numbers):
            epoch, index = divmod(number, self.windows)
            start = int(self._order(epoch)[index]) * self._context
            tokens[row] = self._stream.read(start, start + self._context + 1)
        return tokens

    def _order(self, epoch: int) -> NDArray[np.uint32]:
        """A permutation of the windows: 4 bytes each."""
        if epoch not in self._orders:
            generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
            if len(self._orders) > 1:
                del self._orders[min(self._orders)]
            self._orders[epoch] = generator.permutation(np.arange(self.windows, dtype=np.uint32))
        return self._orders[epoch]


def windows_in_order(
    stream: TokenStream, batch: int, context: int, tokens: int = 0
) -> Iterator[Tokens]:
    """The windows of a stream from its beginning, for evaluations.

    Args:
        stream: The tokens.
        batch: Sequences in a batch.
        context: See `Loader`.
        tokens: Targets to score, rounded up to a whole window; 0 for all.

    Yields:
        Batches of shape (batch, context + 1), the last one with fewer rows where need be. Up to
        context - 1 tokens at the end of the stream fill no window and are left out.

    Raises:
        ConfigError: The stream is shorter than one window.
    """
    windows = _count_windows(stream, context)
    if tokens:
        windows = min(windows, -(-tokens // context))
    for first in range(0, windows, batch):
        rows = min(batch, windows - first)
        flat = stream.read(first * context, (first + rows) * context + 1)
        starts = np.arange(rows)[:, None] * context
        yield flat[starts + np.arange(context + 1)]


def _count_windows(stream: TokenStream, context: int) -> int:
    windows = (len(stream) - 1) // context
    if windows < 1:
        raise ConfigError(
            f"the {len(stream)} {stream.name} do not fill one window of {context} + 1",
            "Lower model.context, add text, or change data.validation",
        )
    if windows > np.iinfo(np.uint32).max:
        raise ConfigError(
            f"the {stream.name} have {windows} windows, more than {np.iinfo(np.uint32).max}",
            "Raise model.context, or train on a part of the text",
        )
    return windows


class Prefetcher:
    """Reads batches ahead in a thread, in order.

        with Prefetcher(loader, start=position) as batches:
            for tokens in batches: ...

    Args:
        loader: Where they come from.
        start: First position.
        rank: See `Loader.batch_at`.
        world: See `Loader.batch_at`.
        depth: Batches that wait at most.
    """

    def __init__(
        self, loader: Loader, start: int, rank: int = 0, world: int = 1, depth: int = 2
    ) -> None:
        self._loader, self._rank, self._world = loader, rank, world
        self._ready: queue.Queue[Tokens | BaseException] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(start,), name="prefetcher", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Tokens]:
        """The batches of position start, start + 1 ... without an end."""
        return self

    def __next__(self) -> Tokens:
        """The next batch.

        Raises:
            BaseException: What the thread met while it read this batch.
            StopIteration: It is closed.
        """
        if self._stop.is_set():
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._stop.set()
        # The thread may wait for room.
        while self._thread.is_alive():
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(0.01)

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fill(self, position: int) -> None:
        while not self._stop.is_set():
            item: Any
            try:
                item = self._loader.batch_at(position, self._rank, self._world)
            except BaseException as error:  # the consumer raises it
                item = error
            self._ready.put(item)
            if isinstance(item, BaseException):
                return
            position += 1
