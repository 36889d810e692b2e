"""The file in which a mixture with merged experts says of what it was made, and what that did."""

from __future__ import annotations

__all__ = ["RECEIPT"]

RECEIPT = "merge_receipt.json"
