"""The panel of findings: sentences, each with its remedy, its numbers and links to its tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from mlx_probe.analysis.findings import Finding
from mlx_probe.core.language import tr
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.run_data import RunData
from mlx_probe.report.terminal.findings import nothing_found, severity_word

__all__ = ["findings_section"]

# Colours of the page's badges.
_BADGES = {"high": "badge status", "medium": "badge deviation", "note": "badge"}
# Links of one finding; the run's metadata has all names.
_MOST_LINKS = 20


def findings_section(runs: Sequence[RunData], heads: Sequence[str]) -> str:
    """The section of what the rules found in each run; empty for comparisons.

    Args:
        runs: The runs.
        heads: The name of each run.
    """
    if all(run.findings is None for run in runs):
        return ""
    parts = []
    for run, head in zip(runs, heads, strict=True):
        if len(runs) > 1:
            parts.append(f"<h3>{html_text(head)}</h3>")
        parts.append(_listed(run.findings or (), bool(run.meta.get("sample"))))
    heading = f"<h2>{html_text(tr('Findings'))}</h2>"
    return f'<section id="findings" class="card wide">{heading}{"".join(parts)}</section>'


def _listed(findings: Sequence[Finding], of_sample: bool) -> str:
    if not findings:
        return f'<p><span class="passed">{html_text(nothing_found(of_sample))}</span></p>'
    items = "".join(map(_item, findings))
    return f'<ol style="overflow-wrap: anywhere">{items}</ol>'


def _item(finding: Finding) -> str:
    badge = (
        f'<span class="{_BADGES[finding.severity]}">'
        f"{html_text(severity_word(finding.severity))}</span>"
    )
    links = ", ".join(map(_link, finding.rows[:_MOST_LINKS]))
    left = len(finding.rows) - _MOST_LINKS
    if left > 0:
        links += html_text(tr(" and {count} more", count=left))
    numbers = ", ".join(
        f"{name} {json.dumps(value, ensure_ascii=False)}"
        for name, value in _rounded(finding.evidence).items()
    )
    return (
        f"<li>{badge}{html_text(finding.sentence.shown)}"
        f"<details><summary>{html_text(tr('What to do, and the numbers'))}</summary>"
        f"<p>{html_text(finding.remedy.shown)}</p>"
        f'<p class="note">{links}</p><p class="note">{html_text(numbers)}</p></details></li>'
    )


def _link(name: str) -> str:
    """A tensor's name that leads to its spectrum, by the page's address."""
    return f'<a href="#at=spectra&amp;tensor={quote(name, safe="")}">{html_text(name)}</a>'


def _rounded(value: object) -> dict[str, object]:
    def short(entry: object) -> object:
        if isinstance(entry, float):
            return float(f"{entry:.4g}")
        return [short(one) for one in entry] if isinstance(entry, list) else entry

    assert isinstance(value, dict)
    return {name: short(entry) for name, entry in value.items() if entry is not None}
