"""The page of an evaluation that asked questions: metrics, and what went wrong, by error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from mlx_probe.core.language import language, tr
from mlx_probe.report.html.frame import footer_text
from mlx_probe.report.html.markup import LANGUAGE_TAGS, html_text, part
from mlx_probe.report.html.sections import fact_list, head_cells, table, text_row
from mlx_probe.report.terminal.answers import measured_rows, measured_texts

__all__ = ["answers_html", "asking_facts", "cell_text"]

# Items of each error that the page shows, and characters of each text.
_SHOWN, _LONGEST = 50, 4000


def answers_html(result: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """The results and their items as one HTML page that loads and runs nothing.

    Args:
        result: results.json.
        items: items.jsonl.
    """
    sections = {
        "measured": tr("What was measured"),
        "errors": tr("What went wrong"),
        **({"faulty": tr("Faulty items")} if result.get("faulty") else {}),
        "run": tr("How it was asked"),
    }
    return Template(part("answers_page.html")).substitute(
        lang=LANGUAGE_TAGS[language()],
        title=html_text(result["model"]),
        subtitle=html_text(f"{result['task']}: {result['data']}"),
        links="".join(f'<a href="#{key}">{html_text(name)}</a>' for key, name in sections.items()),
        style=part("page.css"),
        measured=_measured(result),
        errors=_errors(items),
        faulty=_faulty(result.get("faulty") or ()),
        facts=fact_list(asking_facts(result)),
        footer=html_text(footer_text()),
    )


def _measured(result: Mapping[str, Any]) -> str:
    heads = (tr("metric"), tr("value"), tr("interval, 95 %"), tr("items"))
    rows = [text_row(title, measured_texts(record)) for title, record in measured_rows(result)]
    return table(tr("What was measured"), head_cells(heads), rows)


def _errors(items: Sequence[Mapping[str, Any]]) -> str:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if item["error"] is not None:
            groups.setdefault(item["error"], []).append(item)
    if not groups:
        return f'<p class="note">{html_text(tr("Nothing: every answer is right."))}</p>'
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return "".join(
        f"<details><summary>{html_text(error)}: {len(members)}</summary>{_members(members)}"
        "</details>"
        for error, members in ordered
    )


def _members(members: Sequence[Mapping[str, Any]]) -> str:
    heads = (tr("item"), tr("question"), tr("wanted"), tr("answer"), tr("why"))
    rows = [
        text_row(
            item["id"],
            (
                cell_text(item.get("question")),
                json.dumps(item.get("wanted") or [], ensure_ascii=False),
                cell_text(item.get("answer")),
                cell_text(item["detail"]),
            ),
        )
        for item in members[:_SHOWN]
    ]
    left = len(members) - len(rows)
    more = f'<p class="note">{html_text(tr("{count} more", count=left))}</p>' if left else ""
    return table(members[0]["error"], head_cells(heads), rows) + more


def _faulty(faulty: Sequence[Mapping[str, Any]]) -> str:
    if not faulty:
        return ""
    title = tr("Faulty items")
    rows = [text_row(item["id"], (item["reason"],)) for item in faulty]
    content = table(title, head_cells((tr("item"), tr("what shows it"))), rows)
    note = tr("Their own data contradict each other; they count unless a row says otherwise.")
    return (
        f'<section id="faulty" class="card wide"><h2>{html_text(title)}</h2>'
        f'<p class="note">{html_text(note)}</p>{content}</section>'
    )


def asking_facts(result: Mapping[str, Any]) -> dict[str, str]:
    """How an evaluation asked, and what answered."""
    settings = {key: value for key, value in result["settings"].items() if value not in ("", None)}
    named = {
        key: result[key] for key in ("items", "answered", "cut_off", "device", "dtype", "runs_by")
    }
    facts = {**settings, **{"questions": named.pop("items")}, **named}
    return {key: str(value) for key, value in facts.items() if value is not None}


def cell_text(value: Any) -> str:
    """A text of an item, cut where it is very long."""
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
