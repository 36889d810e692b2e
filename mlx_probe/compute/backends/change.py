"""Sums over the elements of two tensors of one shape, in float64."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ChangeSums"]


@dataclass
class ChangeSums:
    """How far tensor B is from tensor A: sums that grow chunk by chunk.

    Chunks with NaN or infinities are counted, and left out of the sums.

    Attributes:
        count: Elements.
        a: Sum of squares of A.
        b: Sum of squares of B.
        dot: Sum of products.
        difference: Sum of squares of B - A.
        largest: Largest magnitude in B - A.
        changed: Elements that differ.
        nonfinite_a: NaN and infinities in A.
        nonfinite_b: The same in B.
        any_a: Whether A has an element that is not 0: a sum of squares may be lost to underflow.
        any_b: The same of B.
    """

    count: int = 0
    a: float = 0.0
    b: float = 0.0
    dot: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    changed: int = 0
    nonfinite_a: int = 0
    nonfinite_b: int = 0
    any_a: bool = False
    any_b: bool = False

    def add_nonfinite(self, count: int, a: int, b: int) -> None:
        """Take in a chunk that has NaN or infinities: so many of so many elements."""
        self.count += count
        self.nonfinite_a += a
        self.nonfinite_b += b

    def add_equal(self, count: int, energy: float, any_element: bool) -> None:
        """Take in a chunk whose elements are equal in both."""
        self.count += count
        self.a += energy
        self.b += energy
        self.dot += energy
        self.any_a |= any_element
        self.any_b |= any_element

    def add(
        self,
        count: int,
        energies: tuple[float, float],
        dot: float,
        difference: float,
        largest: float,
        changed: int,
        any_element: tuple[bool, bool],
    ) -> None:
        """Take in a chunk; the arguments are named as the attributes, A before B."""
        self.count += count
        self.a += energies[0]
        self.b += energies[1]
        self.dot += dot
        self.difference += difference
        self.largest = max(self.largest, largest)
        self.changed += changed
        self.any_a |= any_element[0]
        self.any_b |= any_element[1]
