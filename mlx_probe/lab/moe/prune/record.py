"""The file in which a pruned mixture says of what it was made, and what that did."""

from __future__ import annotations

__all__ = ["RECEIPT"]

RECEIPT = "prune_receipt.json"
