"""Samples on disk: those of a whole catalog need not be in memory at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint

__all__ = ["spilling"]


@contextmanager
def spilling() -> Iterator[Callable[[Fingerprint], Fingerprint]]:
    """A function that moves the values of a sample into a temporary file.

    The file is mapped: its pages are read when they are used, and the system may drop them.

    Yields:
        To be called with each model; the result is good until the end.
    """
    numbers = itertools.count()
    with TemporaryDirectory(prefix="mlx-probe-lineage-") as folder:

        def spill(model: Fingerprint) -> Fingerprint:
            path = Path(folder) / f"{next(numbers)}.f4"
            with path.open("wb") as file:
                for each in model.sampled:
                    file.write(np.ascontiguousarray(each.values, "<f4").data)
            values = np.memmap(path, "<f4", "r")
            at, sampled = 0, []
            for each in model.sampled:
                part = values[at : at + each.values.size].reshape(each.values.shape)
                sampled.append(replace(each, values=np.asarray(part)))
                at += each.values.size
            return replace(model, sampled=tuple(sampled))

        yield spill
