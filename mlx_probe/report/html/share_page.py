"""The pages between the reports that guests look at: lists of runs and files, and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from string import Template

from mlx_probe.core.language import language, tr
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.report.html.markup import LANGUAGE_TAGS, html_text, part
from mlx_probe.report.html.sections import head_cells, table

__all__ = ["POLICY", "document_page", "files_page", "policy_of", "runs_page"]

# No scripts. Pictures are those of a document, from this server alone.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def runs_page(runs: Sequence[tuple[str, str, str, int]]) -> str:
    """The first page.

    Args:
        runs: Of each its name, the address of its page, its kind, and how many files it has.
    """
    heads = (tr("run"), tr("kind"), tr("report"), tr("files"))
    rows = [
        _row(
            f'<a href="{html_text(address)}">{html_text(name)}</a>',
            html_text(kind),
            f'<a href="{html_text(address)}report.html">{html_text(tr("report"))}</a>',
            f"{count:,}",
        )
        for name, address, kind, count in runs
    ]
    title = tr("Shared runs")
    return _page(title, tr("Read only"), {}, table(title, head_cells(heads), rows))


def files_page(name: str, kind: str, files: Sequence[tuple[str, str, str, int]]) -> str:
    """The page of a run.

    Args:
        name: The run's name.
        kind: Its kind.
        files: Of each its path in the folder, its address, its kind in words, and its bytes.
    """
    link = f'<p><a href="report.html">{html_text(tr("The report of this run"))}</a></p>'
    heads = (tr("file"), tr("kind"), tr("size"))
    rows = [
        _row(
            f'<a href="{html_text(address)}">{html_text(path)}</a>',
            html_text(what),
            html_text(format_size(size)),
        )
        for path, address, what, size in files
    ]
    content = table(tr("Files"), head_cells(heads), rows) if rows else ""
    return _page(name, kind, {"/": tr("Shared runs")}, link + content)


def document_page(name: str, text: str, back: str) -> str:
    """A Markdown document as a page; its own HTML is shown as text.

    Args:
        name: Its path in the run's folder.
        text: The document.
        back: Address of the run's page.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    links = {"/": tr("Shared runs"), back: tr("Files")}
    return _page(name, "", links, f'<div class="prose">{reader.render(text)}</div>')


def policy_of(page: str) -> str:
    """The policy for the header of a page: its own, and that no page may frame it."""
    found = _Policy()
    # Behind the head there are megabytes of scripts.
    found.feed(page[: page.find("<title>")])
    return f"{found.policy or POLICY}; frame-ancestors 'none'"


class _Policy(HTMLParser):
    policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "meta" and named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named.get("content") or ""


def _row(first: str, *cells: str) -> str:
    others = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{first}</th>{others}</tr>'


def _page(title: str, subtitle: str, links: Mapping[str, str], content: str) -> str:
    return Template(part("share_page.html")).substitute(
        lang=LANGUAGE_TAGS[language()],
        title=html_text(title),
        subtitle=html_text(subtitle),
        links="".join(
            f'<a href="{html_text(address)}">{html_text(name)}</a>'
            for address, name in links.items()
        ),
        style=part("page.css"),
        content=content,
        footer=html_text(tr("Served by mlx-probe {version}.", version=__version__)),
    )
