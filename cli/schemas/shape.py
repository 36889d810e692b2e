"""Building blocks of JSON Schemas, each field with its meaning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.core.records import Column

__all__ = [
    "ANYTHING",
    "FAILURE",
    "FLAG",
    "INTEGER",
    "NUMBER",
    "TEXT",
    "Document",
    "Schema",
    "listed",
    "mapping",
    "nullable",
    "of_columns",
    "one_of",
    "record",
]

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}

_OF_COLUMNS: Mapping[str, Schema] = {
    "string": TEXT,
    "int64": INTEGER,
    "float64": NUMBER,
    "bool": FLAG,
    "timestamp": TEXT,
    "list<int64>": {"type": "array", "items": INTEGER},
    "list<string>": {"type": "array", "items": TEXT},
}


@dataclass(frozen=True)
class Document:
    """What a command prints with --json.

    Attributes:
        schema: Its JSON Schema.
        variants: Others that it prints, by when it does.
        note: What is special about it, a sentence in Markdown.
    """

    schema: Schema
    variants: Mapping[str, Schema] = field(default_factory=dict)
    note: str = ""


def record(fields: Mapping[str, tuple[Schema, str]], optional: Collection[str] = ()) -> Schema:
    """An object with these fields and no others.

    Args:
        fields: By key, the value's schema and its meaning.
        optional: Keys that may be missing.
    """
    return {
        "type": "object",
        "properties": {
            key: {**schema, "description": meaning} for key, (schema, meaning) in fields.items()
        },
        "required": [key for key in fields if key not in optional],
        "additionalProperties": False,
    }


def listed(schema: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": schema}


def mapping(schema: Schema) -> Schema:
    """An object whose keys are not known beforehand."""
    return {"type": "object", "additionalProperties": schema}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    words = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, **words, "type": [schema["type"], "null"]}


def one_of(values: Sequence[str]) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": [*values]}


def of_columns(columns: Sequence[Column]) -> Schema:
    """A row of a table, with null for no value."""
    return record(
        {
            column.name: (nullable(_OF_COLUMNS[column.type]), column.description)
            for column in columns
        }
    )


FAILURE: Schema = record(
    {
        "error": (
            record(
                {
                    "fact": (TEXT, "What is wrong."),
                    "remedy": (TEXT, "What to do next."),
                    "exit_code": (INTEGER, "The command's exit code."),
                }
            ),
            "Why there is no other document.",
        )
    }
)
