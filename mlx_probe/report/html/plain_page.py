"""The frame of pages without scripts."""

from __future__ import annotations

from mlx_probe.core.language import language
from mlx_probe.report.html.frame import footer_text
from mlx_probe.report.html.markup import LANGUAGE_TAGS, html_text, part

__all__ = ["page_section", "plain_page"]

# Nothing is loaded, and nothing runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def plain_page(title: str, subtitle: str, content: str, style: str = "") -> str:
    """A page that is complete in itself.

    Args:
        title: As text.
        subtitle: As text.
        content: Sections, as HTML.
        style: CSS of this page alone.
    """
    return (
        f'<!doctype html>\n<html lang="{LANGUAGE_TAGS[language()]}">\n<head>\n'
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)} - mlx-probe</title>\n<style>{part('page.css')}{style}</style>\n"
        f'</head>\n<body>\n<header><div class="title"><h1>{html_text(title)}</h1>'
        f"<p>{html_text(subtitle)}</p></div></header>\n<main>\n{content}</main>\n"
        f"<footer>{html_text(footer_text())}</footer>\n</body>\n</html>\n"
    )


def page_section(heading: str, content: str) -> str:
    """A section of a page.

    Args:
        heading: As text.
        content: As HTML.
    """
    return f'<section class="card wide"><h2>{html_text(heading)}</h2>{content}</section>\n'
