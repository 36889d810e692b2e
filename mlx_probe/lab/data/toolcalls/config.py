"""What `mlx-probe data toolcalls` makes of which sources."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["SYSTEM", "ToolCallsConfig"]

SYSTEM = (
    "You are a helpful assistant with access to tools. When you need to call a function, output "
    "a JSON object with 'name' and 'arguments' fields."
)


@dataclass(frozen=True)
class ToolCallsConfig:
    """Examples of function calls.

    Attributes:
        sources: Files, folders, `pypi:` packages or Hub data sets (`hub:owner/name`).
        format: A key of `FORMATS`, or "auto": the one format that fits a file's first row.
        items: Which files and rows, such as `simple_python:100-379`, see `Items`; none for all.
        system: System prompt of examples without one; "" for none.
        no_call: Answer to questions that no function fits, in data sets that give none; "" leaves
            those questions out.
        valid: Share of the examples for validation.
        test: Share of the examples for tests.
        split_by: Which functions two examples must not share across parts: all that are "offered"
            to the model, or those that are "called".
        seed: Decides which examples are for what.
        tokenizer: A model or tokenizer whose chat template renders each example; "" for none.
        max_tokens: Longer examples are left out; 0 for no limit.

    Raises:
        ConfigError: A value makes no data.
    """

    sources: tuple[str, ...]
    format: str = "auto"
    items: tuple[str, ...] = ()
    system: str = SYSTEM
    no_call: str = ""
    valid: float = 0.1
    test: float = 0.1
    split_by: str = "offered"
    seed: int = 0
    tokenizer: str = ""
    max_tokens: int = 0

    def __post_init__(self) -> None:
        from mlx_probe.lab.data.toolcalls.formats import FORMATS

        refuse_no_numbers(self)
        formats = ("auto", *FORMATS)
        refuse_outside(
            self,
            (
                ("sources", bool(self.sources), "one source or more"),
                ("format", self.format in formats, ", ".join(formats)),
                ("valid", 0 <= self.valid < 1, "0 or more, below 1"),
                ("test", 0 <= self.test < 1 - self.valid, "0 or more, below 1 - valid"),
                ("split_by", self.split_by in ("offered", "called"), "offered or called"),
                ("seed", self.seed >= 0, "0 or more"),
                ("max_tokens", self.max_tokens >= 0, "0 for no limit, or above"),
                (
                    "max_tokens",
                    not self.max_tokens or bool(self.tokenizer),
                    "0 without a tokenizer",
                ),
            ),
        )
