"""What `mlx-probe docs` prints."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.documents.findings import DocumentFinding
from mlx_probe.library.documents.knowledge import Hit
from mlx_probe.library.documents.rules import RULES
from mlx_probe.report.terminal.text import printable

__all__ = ["findings_lines", "hits_text"]


def findings_lines(findings: Sequence[DocumentFinding], documents: int) -> str:
    """A line for each fault, as compilers write them, and how many there are; markup.

    Args:
        findings: What was found.
        documents: How many documents were checked.
    """
    lines = [
        f"{printable(str(each.file))}:{each.line}: [yellow]{each.rule}[/] "
        f"{printable(_message(each))}"
        for each in findings
    ]
    if not documents:
        said = tr("No documents: there is no file that ends with .md")
    elif findings:
        said = tr(
            "{faults} faults in {bad} of {count} documents",
            faults=len(findings),
            bad=len({each.file for each in findings}),
            count=documents,
        )
    else:
        said = tr("{count} documents, nothing found", count=documents)
    return "\n".join((*lines, printable(said)))


def _message(finding: DocumentFinding) -> str:
    fact, colon, quoted = finding.message.partition(": ")
    if RULES[finding.rule].quotes and colon:
        return tr("{fact}: {quoted}", fact=translated(fact), quoted=quoted)
    return translated(finding.message)


def hits_text(hits: Sequence[Hit]) -> str:
    """Places where something was found, the words of the query marked; markup."""
    if not hits:
        return printable(tr("Nothing was found."))
    parts = []
    for hit in hits:
        where = f"{printable(str(hit.file))}:{hit.line}"
        about = " · ".join(dict.fromkeys(filter(None, (hit.title, hit.heading))))
        parts.append(f"[bold]{where}[/]  {printable(about)}\n  {_marked(hit)}")
    return "\n".join(parts)


def _marked(hit: Hit) -> str:
    pieces, end = [], 0
    for begin, behind in hit.spans:
        pieces.append(printable(hit.snippet[end:begin]))
        pieces.append(f"[bold yellow]{printable(hit.snippet[begin:behind])}[/]")
        end = behind
    return "".join((*pieces, printable(hit.snippet[end:])))
