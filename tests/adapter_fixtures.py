"""Adapters that PEFT made, and what its merging made of their bases (`make_adapters`)."""

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from pairs import adapter, saved
from referees.adapters.bases import values

FILE = Path(__file__).parent / "data" / "adapters.npz"


def projections(name, difference):
    """Sums of a change times random numbers, eight of them: the numbers follow from the name."""
    random = np.random.RandomState(zlib.crc32(f"of {name}".encode()))
    return random.standard_normal((8, difference.size)) @ difference.reshape(-1)


@cache
def cases():
    """Name to what is known of each adapter."""
    with np.load(FILE) as arrays:
        return json.loads(arrays["cases"].tobytes())


def written(name, folder):
    """The base and the adapter of a case as folders."""
    case = cases()[name]
    with np.load(FILE) as arrays:
        stored = {
            key.removeprefix(f"{name}/"): arrays[key]
            for key in arrays.files
            if key.startswith(f"{name}/")
        }
    base = {key: values(key, shape) for key, shape in case["base"].items()}
    typed = {
        key: (x.astype("<i4"), "I32") if x.dtype.kind == "i" else x for key, x in stored.items()
    }
    return (
        saved(folder / "base", base, case["base_config"]),
        adapter(folder / "adapter", typed, case["config"]),
    )
