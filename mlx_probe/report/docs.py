"""What the pages of the documentation have between markers: tables of the tables, benchmarks.

A page holds ``<!-- table: NAME -->`` ... ``<!-- /table -->`` for a member of `TABLES`, and
``<!-- results: NAME -->`` ... ``<!-- /results -->`` for a file that a benchmark wrote. `make docs`
writes what is between.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.analysis.compare_runs.settings import SETTINGS, Setting
from mlx_probe.analysis.findings import FINDINGS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.spectrum.methods import METHODS
from mlx_probe.core.formats import FORMATS
from mlx_probe.core.language import tr
from mlx_probe.core.markdown import table
from mlx_probe.core.messages import translated
from mlx_probe.library.documents.project import KINDS
from mlx_probe.library.documents.rules import RULES
from mlx_probe.library.share.kinds import FILE_KINDS
from mlx_probe.metrics import FAMILIES, METRICS
from mlx_probe.report.columns import formulas_table
from mlx_probe.report.figures.views import VIEWS
from mlx_probe.runs.table import WRITERS
from mlx_probe.source import SOURCES
from mlx_probe.source.stores import STORES

__all__ = ["TABLES", "filled", "page_hash", "results_text"]

# What stands where a benchmark has not written its file yet.
NOT_MEASURED = "(not measured yet)"

_PART = re.compile(
    r"^<!-- (?P<kind>table|results): (?P<name>\w+) -->\n(?P<body>.*?)^<!-- /(?P=kind) -->$",
    re.MULTILINE | re.DOTALL,
)


def _formats() -> str:
    def suffixes(name: str) -> str:
        form = FORMATS[name]
        texts = [f"`{suffix}`" for suffix in form.suffixes]
        return ", ".join(texts) + (tr(", or no suffix") if form.signature else "")

    rows = [
        (form.title, suffixes(name), translated(form.content)) for name, form in FORMATS.items()
    ]
    return table((tr("format"), tr("suffix"), tr("what is read")), rows)


def _methods() -> str:
    rows = [
        (f"`{name}`", translated(m.gives), translated(m.description)) for name, m in METHODS.items()
    ]
    return table((tr("value"), tr("gives"), tr("how")), rows)


def _sources() -> str:
    rows = [
        (
            ", ".join(f"`{text}`" for text in form.texts),
            translated(form.meaning),
            translated(form.revision),
        )
        for source in SOURCES.values()
        for form in source.forms
    ]
    return table(("MODEL", tr("means"), tr("recorded revision")), rows)


def _writers() -> str:
    rows = [(f"`{name}`", translated(writer.description)) for name, writer in WRITERS.items()]
    return table((tr("format"), tr("what its files are")), rows)


def _packings() -> str:
    rows = [(f"`{name}`", translated(packing.content)) for name, packing in PACKINGS.items()]
    first = ("`plain`", tr("elements as they are"))
    return table(("`packing`", tr("what is read")), [first, *rows])


def _sides() -> str:
    rows = [
        (f"`{name}`", f"`{side.level}`", translated(side.about)) for name, side in SIDES.items()
    ]
    return table((tr("table"), "`--metrics`", tr("rows")), rows)


def _backends() -> str:
    rows = [
        (f"`{name}`", ", ".join(b.devices), translated(b.description))
        for name, b in BACKENDS.items()
    ]
    return table(("`--backend`", "`--device`", tr("computes with")), rows)


def _stores() -> str:
    rows = [(f"`{name}`", translated(store.title)) for name, store in STORES.items()]
    return table(("`--store`", tr("looks in")), rows)


def _guest_files() -> str:
    rows = [
        (
            f"`{name}`",
            translated(kind.description),
            ", ".join(f"`{suffix}`" for suffix in kind.types),
            tr("yes") if kind.by_default else tr("with `--include {name}`", name=name),
        )
        for name, kind in FILE_KINDS.items()
    ]
    return table((tr("kind"), tr("what"), tr("names end in"), tr("guests read it")), rows)


def _stages() -> str:
    rows = [
        (f"`{name}`", translated(stage.description), translated(stage.limit))
        for name, stage in STAGES.items()
    ]
    return table((tr("stage"), tr("what it does"), tr("limit that it counts for")), rows)


def _views() -> str:
    rows = [(f"`{name}`", translated(view.about)) for name, view in VIEWS.items()]
    return table(("`--view`", tr("shows")), rows)


def _settings() -> str:
    def marked(setting: Setting) -> str:
        names = [metric.name for metric in METRICS if setting.affects(metric.name)]
        if len(names) == len(METRICS):
            return tr("all")
        whole = [f for f in FAMILIES if {metric.name for metric in f.metrics} <= set(names)]
        inside = {metric.name for family in whole for metric in family.metrics}
        parts = [translated(family.title) for family in whole]
        rest = [f"`{name}`" for name in names if name not in inside]
        return ", ".join([*parts, *rest]) or tr("none")

    rows = [(f"`{s.name}`", marked(s), translated(s.meaning)) for s in SETTINGS]
    return table((tr("setting"), tr("marks"), tr("what it means")), rows)


def _findings() -> str:
    rows = [
        (f"`{rule.name}`", translated(rule.title), translated(rule.about), rule.source)
        for rule in FINDINGS.values()
    ]
    return table((tr("rule"), tr("finds"), tr("when"), tr("source")), rows)


def _document_rules() -> str:
    documents = {"all": tr("all"), "project": tr("of a project")}
    rows = [
        (f"`{name}`", translated(rule.about), documents[rule.applies])
        for name, rule in RULES.items()
    ]
    return table((tr("rule"), tr("finds"), tr("documents")), rows)


def _document_kinds() -> str:
    rows = [
        (f"`{name}`", translated(kind.about), f"`{kind.folder}/`") for name, kind in KINDS.items()
    ]
    return table(("KIND", tr("what it is about"), tr("folder")), rows)


# Markdown of each table, by the name in its markers.
TABLES: Mapping[str, Callable[[], str]] = {
    "FORMATS": _formats,
    "METHODS": _methods,
    "SOURCES": _sources,
    "WRITERS": _writers,
    "PACKINGS": _packings,
    "SIDES": _sides,
    "STORES": _stores,
    "FILE_KINDS": _guest_files,
    "BACKENDS": _backends,
    "STAGES": _stages,
    "FORMULAS": formulas_table,
    "FINDINGS": _findings,
    "VIEWS": _views,
    "SETTINGS": _settings,
    "DOCUMENT_RULES": _document_rules,
    "DOCUMENT_KINDS": _document_kinds,
}


def filled(page: str, results: Path, tables: Mapping[str, Callable[[], str]] | None = None) -> str:
    """A page with the tables between its markers as they are now.

    Args:
        page: Its text.
        results: Folder of the benchmarks' result files.
        tables: Tables beside `TABLES`, of what a report does not import.

    Raises:
        KeyError: A marker names no table.
        ValueError: A result file is none.
    """
    known = {**TABLES, **(tables or {})}

    def replaced(part: re.Match[str]) -> str:
        kind, name = part["kind"], part["name"]
        body = known[name]() if kind == "table" else results_text(results / f"{name}.json")
        return f"<!-- {kind}: {name} -->\n{body}\n<!-- /{kind} -->"

    return _PART.sub(replaced, page)


def results_text(path: Path) -> str:
    """A benchmark's table with its date, machine and command, as Markdown.

    Args:
        path: What the benchmark wrote; "(not measured yet)" without such a file.

    Raises:
        ValueError: The file is not a benchmark's.
    """
    if not path.exists():
        return NOT_MEASURED
    result = json.loads(path.read_text("utf-8"))
    missing = {"date", "machine", "command", "columns", "rows", "note"} - set(result)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    rows = [[_cell(value) for value in row] for row in result["rows"]]
    caption = f"{result['date']}, {result['machine']}, `{result['command']}`"
    note = f"\n\n{result['note']}" if result["note"] else ""
    return f"{table(result['columns'], rows)}\n\n{caption}.{note}"


def page_hash(page: str) -> str:
    """SHA-256 of a page without what is generated in it: that needs no translation.

    Args:
        page: The page's text.
    """
    text = _PART.sub(lambda part: f"<!-- {part['kind']}: {part['name']} -->", page)
    return hashlib.sha256(text.encode()).hexdigest()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # `,` alone, for a precision would cut small figures to 0.
    return f"{value:,}" if isinstance(value, (int, float)) else str(value).replace("|", "\\|")
