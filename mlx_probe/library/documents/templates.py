"""The texts that new documents begin with, in each language."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.resources import files

import yaml

__all__ = ["filled_template", "front_matter_text", "yaml_lines"]

# {{name}}, or {{name|what stands there without a value}}.
_FIELD = re.compile(r"\{\{(\w+)(?:\|([^{}]*))?\}\}")
# Values that YAML readers take for text as they are.
_PLAIN = re.compile(r"\d|[a-z][\w./-]*|\d{4}-\d\d-\d\d|[0-9a-f]{64}")
_NOT_TEXT = ("yes", "no", "null", "on", "off", "y", "n")


def filled_template(name: str, language: str, values: Mapping[str, str]) -> str:
    """A template with its fields filled in.

    Args:
        name: "experiment", "index" ...
        language: One of `LANGUAGES`.
        values: Markdown by field.
    """
    folder = files(__package__).joinpath("templates").joinpath(language)
    template = folder.joinpath(f"{name}.md").read_text("utf-8")
    # At once: a value that looks like a field stays as it is.
    return _FIELD.sub(lambda found: values.get(found[1]) or found[2] or "", template)


def front_matter_text(entries: Mapping[str, str]) -> str:
    """Front matter; empty values are left out."""
    return f"---\n{yaml_lines(entries)}---\n\n"


def yaml_lines(entries: Mapping[str, str]) -> str:
    """A line of YAML for each text; empty ones are left out."""
    return "".join(f"{key}: {_value(value)}\n" for key, value in entries.items() if value)


def _value(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _NOT_TEXT:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).strip()
