"""What objects look like in a notebook: a heading, facts in two columns, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["card"]

# No colours: a notebook's own hold, dark or light. Its tables are right-aligned, which
# sentences should not be.
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0"
_FAINT = f"{_CELL};opacity:.7;white-space:nowrap"


def card(title: str, facts: Mapping[str, str], sentences: Sequence[tuple[str, str]] = ()) -> str:
    """HTML for ``_repr_html_``; names from files cannot add markup to it.

    Args:
        title: The heading.
        facts: Texts by label.
        sentences: Label and sentence of each, below the facts.
    """
    rows = "".join(
        f'<tr><th scope="row" style="{_FAINT};font-weight:normal">{escape(label)}</th>'
        f'<td style="{_CELL};overflow-wrap:anywhere">{escape(text)}</td></tr>'
        for label, text in (*facts.items(), *sentences)
    )
    return f"<div><strong>{escape(title)}</strong><table><tbody>{rows}</tbody></table></div>"
