"""``docs/en/json.md``: what every command prints with --json, made from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlx_probe.core.markdown import table

from .schemas import EXEMPT, FAILURE, SCHEMAS, Document, Schema

__all__ = ["json_page"]

_INTRODUCTION = """\
# JSON

This page lists what every command prints with `--json`, for scripts and other programs.

- Standard output holds one JSON document and nothing else; progress and messages go to standard \
error. `monitor` prints a document a line.
- It is strict JSON: NaN is null, and infinity is `1e999`, a valid number that parsers round to \
infinity. Keys and words are English in every language, and names are \
never cut.
- Keys stay. A later version may add keys, but does not remove one or change its type without a \
line in the changelog.
- Exit codes are those without `--json`. A command whose result is bad news (a check that failed, \
a file that is damaged, a plan that does not fit) prints its document all the same.
- Where there is no result, the document is the [failure](#failure) instead; the message stands on \
standard error as well.
- `--quiet` does not silence the document.

```py
import json
import subprocess

done = subprocess.run(["mlx-probe", "inspect", "--json", model], capture_output=True, text=True)
document = json.loads(done.stdout)
if "error" in document:
    raise RuntimeError(document["error"]["fact"])
```

A test runs every command and checks its documents against the JSON Schemas that this page is made \
from: `mlx_probe.cli.schemas.schema_of("inspect")` gives one.
"""
_SEE_ALSO = """\
## See also

- [Command line](command-line.md): every option of every command
- [Columns](columns.md): the columns of the tables
- [Query](query.md): questions in SQL, answered in JSON
- [Troubleshooting](troubleshooting.md#exit-codes): exit codes
"""


def json_page() -> str:
    """The page, without the comment at its beginning."""
    chapters = [_chapter(command, document) for command, document in SCHEMAS.items()]
    without = "\n".join(f"- `{command}` {why}." for command, why in EXEMPT.items())
    parts = (
        _INTRODUCTION,
        f"## failure\n\n{_fields(FAILURE)}\n",
        *chapters,
        f"## Without --json\n\n{without}\n",
        _SEE_ALSO,
    )
    return "\n".join(parts)


def _chapter(command: str, document: Document) -> str:
    parts = [f"## {command}"]
    if document.note:
        parts.append(document.note)
    parts.append(_fields(document.schema))
    for when, schema in document.variants.items():
        parts += [f"{when[0].upper()}{when[1:]}:", _fields(schema)]
    return "\n\n".join(parts) + "\n"


def _fields(schema: Schema) -> str:
    """A line for each key, those inside others with a path."""
    if schema.get("type") == "array":
        return f"A list of:\n\n{_fields(schema['items'])}"
    rows = [(f"`{path}`", kind, meaning) for path, kind, meaning in _lines(schema, "")]
    return table(("key", "type", "meaning"), rows)


def _lines(schema: Schema, within: str) -> Iterator[tuple[str, str, str]]:
    for key, value in schema["properties"].items():
        path = f"{within}{key}"
        kind = _kind(value)
        optional = "" if key in schema["required"] else "may be missing"
        yield path, ", ".join(filter(None, (kind, optional))), value["description"]
        inner, step = _inner(value, path)
        if inner is not None:
            yield from _lines(inner, step)


def _inner(schema: Schema, path: str) -> tuple[Schema | None, str]:
    """The object inside a value, and the path to its keys."""
    if "properties" in schema:
        return schema, f"{path}."
    if "items" in schema:
        return _inner(schema["items"], f"{path}[]")
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        return _inner(other, f"{path}.*")
    return None, path


def _kind(schema: Schema) -> str:
    kinds: Any = schema.get("type", "string" if "enum" in schema else "any")
    names = kinds if isinstance(kinds, list) else [kinds]
    if "items" in schema:
        names = [f"array of {_kind(schema['items'])}" if n == "array" else n for n in names]
    return " or ".join(names)
