"""Small data sets of function calls in every format, made here."""

import json


def tool(name, properties=None, required=(), description="Does it."):
    parameters = {"type": "object", "properties": properties or {}, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


def xlam(number, name=None, calls=None, **changes):
    """A row of xLAM: JSON in strings, types of Python."""
    name = name or f"function_{number}"
    described = {
        "city": {"type": "str", "description": "A city."},
        "days": {"type": "int, optional", "description": "Days.", "default": 1},
    }
    tools = [{"name": name, "description": "Weather.", "parameters": described}]
    if calls is None:
        calls = [{"name": name, "arguments": {"city": f"City {number}", "days": number}}]
    row = {"id": number, "query": f"Weather in {number}?", "tools": tools, "answers": calls}
    row |= {key: json.dumps(row[key]) for key in ("tools", "answers")}
    return {**row, **changes}


def write_rows(path, rows):
    """Rows as JSON Lines; a row that is text is written as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def write_xlam(path, count=20):
    return write_rows(path, [xlam(number) for number in range(count)])


def read_rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
