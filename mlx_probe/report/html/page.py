"""The page: template, styles, scripts and data, with a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from mlx_probe.analysis.side_tables import SIDES, Side
from mlx_probe.core.version import __version__
from mlx_probe.report.facts import Facts, model_facts, run_facts, title_of
from mlx_probe.report.html.encoding import script_json
from mlx_probe.report.html.payload import page_payload
from mlx_probe.report.outliers import RULE, unreliable_fits
from mlx_probe.report.run_data import RunData
from mlx_probe.report.terminal.plain import plain

__all__ = ["report_html"]

# Each needs only what those before it define.
_SCRIPTS = ("data", "theme", "map", "spectrum", "outliers", "grid", "main")
_COST = ("seconds", "bytes", "gbps", "share_of_copy", "gflops", "share_of_product")


def report_html(data: RunData) -> str:
    """A run as one HTML page that loads nothing.

    Its policy lets run only the scripts that are in it, by their hashes, and forbids every
    connection: text from a file that got past the escaping could neither run nor send anything.

    Args:
        data: The run.

    Returns:
        The page; about 5 MB of it are the plotting library.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(_part(f"{n}.js") for n in _SCRIPTS) + "})();\n"
    plotly = get_plotlyjs().replace("\r\n", "\n")
    title = title_of(data)
    facts = model_facts(data)
    payload = page_payload(data)
    panels = _panels(data, payload)
    sections = {
        "model": "Model",
        **panels,
        "table": "Table",
        **{name: name.capitalize() for name in data.sides},
        "run": "Run",
    }
    texts = {
        "map_heading": "What changed where" if data.is_compare else "Over the layers",
        "spectra_heading": panels["spectra"],
        "rule": _text(f"{RULE} {unreliable_fits(data.frame)}"),
    }
    return Template(_part("page.html")).substitute(
        policy=_policy((plotly, script)),
        title=_text(title),
        heading="What is compared" if data.is_compare else "The model",
        subtitle=_text(_subtitle(facts)),
        links="".join(f'<a href="#{key}">{name}</a>' for key, name in sections.items()),
        style=_part("page.css"),
        panels="".join(Template(_part(f"panel_{key}.html")).substitute(texts) for key in panels),
        sides="".join(_side(SIDES[key], payload["tables"][key]) for key in data.sides),
        model_facts=_facts(facts),
        run_facts=_facts(run_facts(data)),
        validation=_validation(data.meta.get("validation")),
        cost=_cost(data.meta),
        version=_text(__version__),
        data=script_json(payload),
        plotly=plotly,
        script=script,
    )


def _panels(data: RunData, payload: Mapping[str, Any]) -> dict[str, str]:
    """Panels that this run has something for, with their names in the menu."""
    maps = {"maps": "Maps"} if payload["tables"]["params"]["map"] else {}
    if data.is_compare:
        return {**maps, "spectra": "Tensor", "outliers": "Outliers"}
    shared = {"spectra": "Spectrum", "outliers": "Outliers"}
    return {**maps, **shared, "quantization": "Quantization"}


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8").replace("\r\n", "\n")


def _policy(scripts: Iterable[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    # Plotly sets styles from its script and draws heat maps as images in data: addresses.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _text(value: object) -> str:
    """Any value as text that is neither markup nor control characters."""
    return escape(plain(str(value)))


def _subtitle(facts: Facts) -> str:
    parameters = [f"{facts['parameters']} parameters"] if "parameters" in facts else []
    return ", ".join(parameters + [facts[key] for key in ("format", "revision") if key in facts])


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items())


def _side(side: Side, table: Mapping[str, Any]) -> str:
    heading = f"<h2>{_text(side.title)}</h2>"
    grid = f'<div class="grid" data-table="{side.key}"></div>'
    drawn = f'<section class="map" data-table="{side.key}"></section>' if table["map"] else ""
    return f'<section id="{side.key}" class="card wide">{heading}{drawn}{grid}</section>'


def _validation(validation: object) -> str:
    """The outcome of the run's checks, with the details of those that failed."""
    if not isinstance(validation, Mapping):
        return '<p class="note">This run records no validation.</p>'
    checks = [check for check in validation.get("checks", ()) if isinstance(check, Mapping)]
    failed = [check for check in checks if not check.get("passed")]
    if not failed:
        return f'<p><span class="passed">Valid:</span> all {len(checks)} checks passed.</p>'
    items = "".join(f"<li>{_text(c.get('name'))}: {_text(c.get('detail'))}</li>" for c in failed)
    return (
        f'<p><span class="failed">Not valid:</span> {len(failed)} of {len(checks)} checks '
        f"failed.</p><ul>{items}</ul>"
    )


def _cost(meta: Mapping[str, Any]) -> str:
    """What each stage cost, if the run recorded it."""
    stages, limit = meta.get("stages"), meta.get("limit")
    if not isinstance(stages, Mapping) or not stages:
        return ""
    heads = ("stage", "worker s", "bytes", "GB/s", "of a copy", "GFLOP/s", "of a product")
    rows = []
    for stage, cost in stages.items():
        known = cost if isinstance(cost, Mapping) else {}
        values = {name: known.get(name) for name in _COST}
        cells = "".join(f'<td class="number">{_number(v, n)}</td>' for n, v in values.items())
        rows.append(f"<tr><td>{_text(stage)}</td>{cells}</tr>")
    limited = ""
    if isinstance(limit, Mapping) and isinstance(limit.get("share"), (int, float)):
        limited = (
            f'<p class="note">What limited it: {_text(limit.get("name"))} '
            f"({limit['share']:.0%} of {_text(limit.get('of'))}).</p>"
        )
    head = "".join(f'<th class="{"number" if n else ""}">{h}</th>' for n, h in enumerate(heads))
    return (
        f"<h3>Cost by stage</h3><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>{limited}"
    )


def _number(value: object, name: str) -> str:
    if not isinstance(value, (int, float)) or not value:
        return "-"
    if name.startswith("share"):
        return f"{value:.0%}"
    return f"{value:,.0f}" if name == "bytes" else f"{value:.2f}"
