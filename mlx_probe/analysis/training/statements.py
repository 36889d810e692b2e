"""What happened to the weights of a training run, in sentences with the numbers behind them."""

from __future__ import annotations

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import count
from mlx_probe.analysis.training import heavy_tails, lost_rank, settled
from mlx_probe.analysis.training.heavy_tails import tail_statements
from mlx_probe.analysis.training.history import History
from mlx_probe.analysis.training.lost_rank import rank_statements
from mlx_probe.analysis.training.settled import settled_statements
from mlx_probe.analysis.training.statement import Statement

__all__ = ["RULES", "statements"]

# By which the statements are made, in their order.
RULES = (settled.RULE, heavy_tails.RULE, lost_rank.RULE)


def statements(history: History, steps_done: int) -> list[Statement]:
    """What happened to the matrices of a training run; see `RULES`.

    Args:
        history: Its snapshots; with fewer than two, nothing is said.
        steps_done: How far training has come.
    """
    if len(history.steps) < 2:
        return []
    said = [
        *settled_statements(history),
        *tail_statements(history),
        *rank_statements(history),
    ]
    if (last := history.steps[-1]) < steps_done:
        text = Text(
            "The last measured snapshot is of step {last}, and training has come to step {done}: "
            "what is said of the weights holds until step {last}.",
            {"last": count(last), "done": count(steps_done)},
        )
        said.insert(0, Statement("behind", text, (), {"measured": last, "done": steps_done}))
    return said
