"""Pages of the report, parsed, and the numbers and texts that they hold."""

import base64
import json
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
    (kind,) = {"f4", "f8"} & column.keys()
    return np.frombuffer(base64.b64decode(column[kind]), f"<{kind}").astype(np.float64)


def texts(column):
    codes = np.frombuffer(base64.b64decode(column["codes"]), "<i4")
    return [None if code < 0 else column["levels"][code] for code in codes]
