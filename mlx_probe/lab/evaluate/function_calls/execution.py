"""Whether the calls of an answer do what the wanted ones do.

They run in the sandbox of the rewards: registered functions with the arguments as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.outcome import Outcome
from mlx_probe.lab.rewards.values import same_value

__all__ = ["Run", "executes"]

Run = Callable[[Call], Outcome]


def executes(made: Sequence[Call], wanted: Sequence[Call], run: Run) -> bool | None:
    """Whether the calls run, and give the results of the wanted ones, in any order.

    Args:
        made: The model's calls.
        wanted: The right ones.
        run: Executes a call.

    Returns:
        None where nothing is wanted, or a wanted call does not run: its function is not
        registered, or fails.
    """
    right = [(call.name, run(call)) for call in wanted]
    if not right or any(outcome.kind != "ok" for _, outcome in right):
        return None
    if len(made) != len(wanted):
        return False
    for call in made:
        given = run(call)
        index = next(
            (
                number
                for number, (name, outcome) in enumerate(right)
                if name == call.name and same_value(given.value, outcome.value)
            ),
            None,
        )
        if given.kind != "ok" or index is None:
            return False
        del right[index]
    return True
