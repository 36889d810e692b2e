"""What a job takes from the machine, what the machine has left, and what follows from that.

`account` counts stages and peaks for the run's metadata. The rest watches: `readings` makes a
`Sample` of the machine, `sampler` does so once a second, `rules` and `guard` decide what a
sample means, and `gate` is where a job's threads wait or are turned away. `jobs` tells other
processes that a job is there.
"""

from __future__ import annotations

from mlx_probe.runs.monitor.gate import Gate
from mlx_probe.runs.monitor.usage import READ, Stage, Usage, UsageMeter, Work, process_memory

__all__ = ["READ", "Gate", "Stage", "Usage", "UsageMeter", "Work", "process_memory"]
