"""The frame of all pages: template, styles, scripts, data, and a policy that forbids the rest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from mlx_probe.core.language import language, tr
from mlx_probe.core.version import __version__
from mlx_probe.report.html.encoding import script_json
from mlx_probe.report.html.markup import LANGUAGE_TAGS, html_text, part, script_words

__all__ = ["filled_page", "footer_text", "script_of"]


def filled_page(
    payload: Mapping[str, Any],
    scripts: Sequence[str],
    *,
    title: str,
    subtitle: str,
    sections: Mapping[str, str],
    **html: str,
) -> str:
    """A page of its parts: the frame, styles, scripts and policy that all pages share.

    Args:
        payload: What the scripts draw, as JSON values.
        scripts: As for `script_of`.
        title: Of the page, as text.
        subtitle: The same.
        sections: Names of the sections in the menu, as texts, by their ids.
        **html: The other fields of page.html, as HTML; a page may have no findings.
    """
    script = script_of(scripts)
    plotly = get_plotlyjs().replace("\r\n", "\n")
    return Template(part("page.html")).substitute(
        lang=LANGUAGE_TAGS[language()],
        policy=_policy((plotly, script)),
        title=html_text(title),
        subtitle=html_text(subtitle),
        links="".join(f'<a href="#{key}">{html_text(name)}</a>' for key, name in sections.items()),
        style=part("page.css"),
        footer=html_text(footer_text()),
        data=script_json({**payload, "words": script_words([script])}),
        plotly=plotly,
        script=script,
        **{"findings": "", **html},
    )


def footer_text() -> str:
    """What all pages end with."""
    return tr(
        "Made by mlx-probe {version}. This file is complete in itself and opens no connection.",
        version=__version__,
    )


def script_of(names: Iterable[str]) -> str:
    """Scripts of this folder as one, whose names are its own.

    Args:
        names: The scripts without their suffix, each after those that it needs.
    """
    return '"use strict";\n(() => {\n' + "\n".join(part(f"{n}.js") for n in names) + "})();\n"


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
