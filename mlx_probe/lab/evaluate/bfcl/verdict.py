"""What the checker says of an answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mismatch", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer counts.

    Attributes:
        valid: Whether it does.
        error_type: Why not, by BFCL's names; None if it is valid.
        errors: Why not, in words.
    """

    valid: bool
    error_type: str | None = None
    errors: tuple[str, ...] = ()


class Mismatch(Exception):  # noqa: N818
    """What ends a check; it never leaves the checker.

    Args:
        error_type: BFCL's name.
        errors: In words.
    """

    def __init__(self, error_type: str, *errors: str) -> None:
        super().__init__(error_type, *errors)
        self.error_type = error_type
        self.errors = errors

    @property
    def verdict(self) -> Verdict:
        """The verdict that it stands for."""
        return Verdict(False, self.error_type, self.errors)
