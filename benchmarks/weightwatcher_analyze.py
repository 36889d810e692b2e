"""WeightWatcher's analyze() of matrices in an .npz file; needs numpy, torch and weightwatcher.

    python benchmarks/weightwatcher_analyze.py MATRICES.npz RESULT.json

Imports nothing of ours, so that it runs under an interpreter that has WeightWatcher.
`whole_run.py` and `summary.py` call it by their option --weightwatcher PYTHON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import weightwatcher


def main(source: str, target: str) -> None:
    """Time analyze() alone, with the matrices in memory; keep largest eigenvalues and summary."""
    matrices = np.load(source)
    model = torch.nn.Sequential()
    for name in matrices.files:
        rows, cols = matrices[name].shape
        layer = torch.nn.Linear(cols, rows, bias=False)
        layer.weight.data = torch.from_numpy(matrices[name])
        model.append(layer)
    watcher = weightwatcher.WeightWatcher(model=model)
    began, busy = time.perf_counter(), time.process_time()
    details = watcher.analyze()
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - busy}
    # By name: it leaves out what it holds to be too small.
    largest = {
        matrices.files[int(layer)]: float(value)
        for layer, value in zip(details["longname"], details["spectral_norm"], strict=True)
    }
    found = {"largest_eigenvalue": largest, "summary": summary_of(watcher, details)}
    Path(target).write_text(json.dumps({**took, **found}))


def summary_of(watcher: weightwatcher.WeightWatcher, details: object) -> dict[str, float]:
    """get_summary() as plain numbers."""
    return {name: float(value) for name, value in watcher.get_summary(details).items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
