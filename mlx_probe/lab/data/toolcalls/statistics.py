"""What a part of the examples holds, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, function_key

__all__ = ["PartCounts", "length_summary"]


@dataclass
class PartCounts:
    """Counts of a part.

    Attributes:
        examples: Examples.
        calls: Calls in them.
        without_calls: Examples in which nothing is called.
        several_calls: Examples in which one answer has several calls.
        functions: Keys of the functions that are offered.
        without_parameters: Keys of those that take no arguments.
        lengths: Tokens of each example; empty without a tokenizer.
    """

    examples: int = 0
    calls: int = 0
    without_calls: int = 0
    several_calls: int = 0
    functions: set[bytes] = field(default_factory=set)
    without_parameters: set[bytes] = field(default_factory=set)
    lengths: list[int] = field(default_factory=list)

    def add(self, example: Example, length: int | None) -> None:
        """Count an example; its tokens if they are known."""
        self.examples += 1
        calls = [len(message.get("tool_calls", ())) for message in example.messages]
        self.calls += sum(calls)
        self.without_calls += not sum(calls)
        self.several_calls += max(calls, default=0) > 1
        for tool in example.tools:
            key = function_key(tool["function"])
            self.functions.add(key)
            if not (tool["function"].get("parameters") or {}).get("properties"):
                self.without_parameters.add(key)
        if length is not None:
            self.lengths.append(length)

    def summary(self) -> dict[str, Any]:
        """The counts, for JSON."""
        return {
            "examples": self.examples,
            "functions": len(self.functions),
            "without_parameters": len(self.without_parameters),
            "calls": self.calls,
            "without_calls": self.without_calls,
            "several_calls": self.several_calls,
            "tokens": length_summary(self.lengths) if self.lengths else None,
        }


def length_summary(lengths: Sequence[int]) -> dict[str, int]:
    """All tokens, and those of the median, 95th percentile and longest example.

    A percentile is the smallest length that so many examples do not exceed.
    """
    ordered = sorted(lengths)

    def percentile(share: int) -> int:
        return ordered[max(0, -(-share * len(ordered) // 100) - 1)]

    return {
        "total": sum(ordered),
        "p50": percentile(50),
        "p95": percentile(95),
        "longest": ordered[-1],
    }
