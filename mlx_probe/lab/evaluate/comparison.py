"""Two results of one task, item by item."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.paired import paired_record
from mlx_probe.runs.answers import read_evaluation

__all__ = ["compare_results"]

# What two results must agree in.
_ASKED = ("question", "wanted")


def compare_results(
    first: str | os.PathLike[str], second: str | os.PathLike[str], seed: int = 0
) -> dict[str, Any]:
    """Compare two results on the items that both have.

    Args:
        first: Folder that `evaluate` wrote.
        second: Another one, of the same task and data.
        seed: Of the resamples behind the intervals.

    Returns:
        Each metric's difference with an interval, of shares with McNemar's exact p; items that
        became right and that became wrong. For JSON.

    Raises:
        ResultError: One is no folder of results.
        ConfigError: They have nothing in common, or ask something else by the same name.
    """
    (one, left), (two, right) = read_evaluation(Path(first)), read_evaluation(Path(second))
    if one.get("task") != two.get("task"):
        raise ConfigError(
            f"{first} is of the task {one.get('task')}, {second} of {two.get('task')}",
            "Compare results of one task",
        )
    by_id = {item["id"]: item for item in right}
    both = [(item, by_id[item["id"]]) for item in left if item["id"] in by_id]
    if not both:
        raise ConfigError(
            f"{first} and {second} have no item in common", "Compare results on the same data"
        )
    # Names of items are often their lines: other data may have the same ones.
    other = [a["id"] for a, b in both if any(a.get(key) != b.get(key) for key in _ASKED)]
    if other:
        raise ConfigError(
            f"{first} and {second} differ in what {other[0]} asks or wants",
            "Compare results on the same data",
        )
    names = [name for name in both[0][0]["values"] if name in both[0][1]["values"]]
    # The last metric of function-calls and the only one of BFCL say whether an item is right.
    main = "all_together" if "all_together" in names else "accuracy"
    changed = [
        (a["id"], b["values"].get(main))
        for a, b in both
        if a["values"].get(main) != b["values"].get(main)
    ]
    return {
        "first": os.fspath(first),
        "second": os.fspath(second),
        "models": [one.get("model"), two.get("model")],
        "task": one.get("task"),
        "items": len(both),
        "only_in_first": len(left) - len(both),
        "only_in_second": len(right) - len(both),
        "metrics": {name: _metric(name, both, seed) for name in names},
        "became_right": [id for id, is_right in changed if is_right],
        "became_wrong": [id for id, is_right in changed if not is_right],
    }


def _metric(
    name: str, both: list[tuple[dict[str, Any], dict[str, Any]]], seed: int
) -> dict[str, Any]:
    pairs = [(a["values"].get(name), b["values"].get(name)) for a, b in both]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    is_share = all(isinstance(value, bool) for pair in known for value in pair)
    return paired_record([float(a) for a, _ in known], [float(b) for _, b in known], is_share, seed)
