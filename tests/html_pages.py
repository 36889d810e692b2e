"""Pages of the report, parsed, and the numbers and texts that they hold."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np

HOSTILE_NAME = "<script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Elements with attributes in order, text by the id of a script; refuses what is not nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self.text, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])

    @property
    def run(self):
        """The data of the first run."""
        return self.data["runs"][0]


def numbers(column):
    if "few" in column:
        values, places = numbers(column["few"]), codes(column["codes"])
        return np.where(places < 0, np.nan, np.append(values, np.nan)[places])
    if "rounded" in column:
        return rounded(column["rounded"])
    (kind,) = {"f4", "f8"} & column.keys()
    return decoded(column[kind], kind).astype(np.float64)


def rounded(entry):
    steps = decoded(entry["u2"], "u2").astype(int)
    sizes = np.exp(entry["low"] + (steps >> 1 if entry["signed"] else steps) * entry["step"])
    signs = np.where(entry["signed"] & steps & 1, -1, 1)
    values = [float(f"{size:.5g}") for size in np.where(steps < 65534, sizes, 1)] * signs
    return np.select([steps == 65535, steps == 65534], [np.nan, 0], values)


def texts(column):
    levels = levels_of(column)
    return [None if code < 0 else levels[code] for code in codes(column["codes"])]


def levels_of(column):
    if "levels" in column:
        return column["levels"]
    values = iter(decoded(column["numbers"], "u2"))
    templates = [column["templates"][code] for code in codes(column["template"])]
    return [re.sub("#", lambda _: str(next(values)), template) for template in templates]


def codes(entry):
    if "same" in entry:
        return np.full(entry["count"], entry["same"])
    if "in_order" in entry:
        return np.arange(entry["in_order"])
    ((kind, text),) = entry.items()
    return decoded(text, kind)


def decoded(text, kind):
    return np.frombuffer(base64.b64decode(text), f"<{kind}")
