"""What a model can do, in numbers: tasks that are run on a model.

A new task is one file with a `Task` or an `AnswerTask`, and one line in `TASKS`.
"""

from __future__ import annotations

from mlx_probe.lab.evaluate.bfcl.task import BFCL
from mlx_probe.lab.evaluate.function_calls.task import FUNCTION_CALLS
from mlx_probe.lab.evaluate.perplexity import PERPLEXITY
from mlx_probe.lab.evaluate.protocol import AnswerTask, Task

__all__ = ["TASKS", "AnswerTask", "Task"]

TASKS: dict[str, Task | AnswerTask] = {
    "perplexity": PERPLEXITY,
    "function-calls": FUNCTION_CALLS,
    "bfcl": BFCL,
}
