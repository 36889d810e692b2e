"""Make the fixtures of packed weights again, by the original packages.

    pip install torch transformers compressed-tensors==0.20.1 auto-round==0.16.1
    python tests/make_packings.py [MAKER ...]

A maker is a module of ``packing_makers``, and its fixture ``data/packings/MAKER.npz``; its first
line names the package and version. AutoRound also asks for datasets and py-cpuinfo.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import packers

FOLDER = Path(__file__).parent / "data" / "packings"
MAKERS = sorted(path.stem for path in Path(__file__).parent.glob("packing_makers/[!_]*.py"))


def made(maker, seed=0):
    """The cases of a maker, by its package: name -> (stored arrays, settings, values)."""
    cases = import_module(f"packing_makers.{maker}").cases(seed)
    return {
        name: (
            {key: packers.stored(tensor) for key, tensor in tensors.items()},
            config,
            values.float().contiguous().numpy(),
        )
        for name, (tensors, config, values) in cases.items()
    }


def fixtures():
    """The cases of all makers as they were made once, by maker and name."""
    return {
        f"{maker}: {case}": content
        for maker in MAKERS
        for case, content in packers.golden(FOLDER / f"{maker}.npz").items()
    }


def main(makers):
    for maker in makers or MAKERS:
        arrays = {}
        for case, (tensors, config, values) in made(maker).items():
            arrays[f"{case}|config"] = np.array(json.dumps(config))
            arrays[f"{case}|values"] = values
            for name, (array, dtype) in tensors.items():
                arrays[f"{case}|{name}:{dtype}"] = array
        np.savez_compressed(FOLDER / f"{maker}.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
