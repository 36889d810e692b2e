"""The process that measures: `python -m mlx_probe.lab.train.watch.process`.

It is a process of its own, started anew and not forked: MLX and its BLAS are not in it, it shares
no thread and no lock with training, and training cannot change a bit by it. All that it knows it
reads from the names of files. It ends when the trainer closes its standard input, by intention
or by dying.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

from mlx_probe.core.machine import usable_cores
from mlx_probe.lab.train.watch.pace import Pace
from mlx_probe.runs.log import logged_by

__all__ = ["main"]

# Seconds between two looks for a new snapshot.
_LOOK = 0.5

# CPU seconds to import the engine: saved up before, so that not even a short run gives more than
# its share.
_IMPORT = 1.0

_LOWEST_PRIORITY = 19


def main(arguments: list[str]) -> None:
    """Measure snapshots until training ends, or those that are left.

    Args:
        arguments: Of the command line.
    """
    parser = argparse.ArgumentParser(prog="mlx_probe.lab.train.watch.process")
    parser.add_argument("run", type=Path)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--share", type=float, help="of the machine; without it training is over")
    options = parser.parse_args(arguments)
    # Ctrl-C reaches the whole group of processes: the trainer decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()
    training = options.share is not None
    if training:
        os.nice(_LOWEST_PRIORITY)
    pace = Pace(options.share * usable_cores() if training else math.inf)
    handler = logging.StreamHandler(sys.stderr)
    # What the engine says of each tensor is in the log of its own run.
    handler.addFilter(logging.Filter("mlx_probe.lab"))
    with logged_by(handler):
        pace.wait(_IMPORT)
        from mlx_probe.lab.train.watch.measuring import Measuring

        measuring = Measuring(options.run, options.metrics, pace, training)
        measuring.begin()
        while measuring.measure_next() or training:
            time.sleep(_LOOK if training else 0)


def _end_with_the_trainer() -> None:
    # Not by Linux's PR_SET_PDEATHSIG: it tells of the end of the thread that started a process,
    # and other systems do not have it.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
