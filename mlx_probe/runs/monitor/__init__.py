"""What a job takes from the machine, what the machine has left, and rules about both.

`usage` counts stages and peaks for the metadata. `readings` makes a `Sample` of the machine, and
`sampler` does so once a second. `rules` and `guard` decide whether a sample breaks a rule. At the
`gate` the threads of a job wait, or stop. `jobs` lists running jobs for other processes.
"""

from __future__ import annotations

from mlx_probe.runs.monitor.gate import Gate
from mlx_probe.runs.monitor.usage import READ, Stage, Usage, UsageMeter, Work, process_memory

__all__ = ["READ", "Gate", "Stage", "Usage", "UsageMeter", "Work", "process_memory"]
