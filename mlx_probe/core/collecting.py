"""Python's collector of cycles, out of the way of what makes many objects that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection of cycles meanwhile.

    The collector looks at all objects again whenever their number has grown by a quarter. Opening
    a model of 180,000 tensors makes millions, none of which is garbage: a seventh of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
