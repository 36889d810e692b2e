"""The file in which a merged model says of what it was made."""

from __future__ import annotations

__all__ = ["RECORD"]

RECORD = "merge.json"
