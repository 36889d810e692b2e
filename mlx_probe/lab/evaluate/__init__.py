"""What a model can do, in numbers: tasks that are run on a model.

A new task is one file with a `Task` and one line in `TASKS`.
"""

from __future__ import annotations

from mlx_probe.lab.evaluate.perplexity import PERPLEXITY
from mlx_probe.lab.evaluate.protocol import Task

__all__ = ["TASKS", "Task"]

TASKS: dict[str, Task] = {"perplexity": PERPLEXITY}
