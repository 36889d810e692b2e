"""The file in which a graft says of what it was made, and what that did."""

from __future__ import annotations

__all__ = ["RECEIPT"]

RECEIPT = "graft_receipt.json"
