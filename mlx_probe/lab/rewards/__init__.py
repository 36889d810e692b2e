"""What an answer with function calls is worth, from 0 to 1.

attempt.py     an answer, what it could call, and what was expected
values.py      whether two JSON values are equal
matching.py    which call of the answer is meant by which expected one
valid_json.py, function_name.py, arguments.py, schema.py, execution.py    the rewards
total.py       weights, own rewards by module:function, the sum
sandbox.py     runs registered functions in a process of their own; worker.py is that process
functions.py   a few pure functions to begin with
"""

from __future__ import annotations

from mlx_probe.lab.rewards.arguments import ARGUMENTS
from mlx_probe.lab.rewards.execution import EXECUTION
from mlx_probe.lab.rewards.function_name import FUNCTION_NAME
from mlx_probe.lab.rewards.protocol import Reward
from mlx_probe.lab.rewards.schema import SCHEMA
from mlx_probe.lab.rewards.valid_json import VALID_JSON

__all__ = ["REWARDS", "Reward"]

REWARDS: dict[str, Reward] = {
    "valid_json": VALID_JSON,
    "function_name": FUNCTION_NAME,
    "arguments": ARGUMENTS,
    "schema": SCHEMA,
    "execution": EXECUTION,
}
