"""The model card: what is known, nothing else, and nothing that acts."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlx_probe.library.catalog import Analysis, Model, ModelFile, card_text
from mlx_probe.library.catalog.readme import read_readme

RUN = Analysis(
    Path("/runs/tiny/run_meta.json"),
    "analyze",
    "2026-01-02T03:04:05",
    {
        "seconds": 12.34,
        "gbps": 1.5,
        "peak_memory": 2_000_000_000,
        "backend": "numpy",
        "device": "cpu",
    },
)
MODEL = Model(
    key="a" * 12,
    store="hub",
    id="Owner/Tiny-1B",
    revision="c0ffee",
    path=Path("/hub/tiny"),
    location=Path("/hub/tiny/model.safetensors"),
    format="safetensors",
    architecture="llama",
    shape={"layers": 2},
    parameters=1000,
    dtypes={"BF16": 1000},
    bits=16.0,
    size=2000,
    licence="apache-2.0",
    url="https://huggingface.co/Owner/Tiny-1B",
    description="A tiny model.",
    note="first line\n- second line",
    tags=("good",),
    files=(
        ModelFile(Path("/hub/tiny/model.safetensors"), "weights", 2000, 0, "f" * 64),
        ModelFile(Path("/hub/tiny/config.json"), "config", 20, 0),
    ),
    analyses=(RUN,),
)
PACKED = replace(
    MODEL, key="b" * 12, id="x/Tiny-1B-4bit", dtypes={"mlx 4 bit": 1000}, size=600, files=()
)
TITLES = ["Facts", "Versions", "Performance on this machine", "Usage", "Notes", "Tags"]


def rendered(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def titles(text):
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def test_everything_that_is_known():
    text = card_text(MODEL, [MODEL, PACKED])
    assert text.startswith("# Owner/Tiny-1B\n\nA tiny model.\n")
    assert titles(text) == [*TITLES, "Related runs"]
    html = rendered(text)
    assert html.count("<table>") == 3
    for fact in (
        "<td>16.00</td>",
        "12.3 s",
        "1.50 GB/s",
        "2.0 GB",
        "numpy on cpu",
        "apache-2.0",
        "f" * 64,
        "same name",
        "/runs/tiny/run_meta.json",
        "- second line",
    ):
        assert fact in html
    assert "mlx-probe analyze /hub/tiny" in text
    assert "from_pretrained('/hub/tiny', local_files_only=True)" in text
    packed = replace(MODEL, dtypes={"mlx 4 bit": 1})
    assert "from mlx_lm import load\n\nmodel, tokenizer = load('/hub/tiny')" in card_text(
        packed, []
    )
    part = replace(MODEL, id="tiny:model.safetensors")
    assert "mlx-probe analyze" not in card_text(part, [])


def test_nothing_is_invented():
    bare = Model("k" * 12, "folder", "m", "local", Path("/m"), Path("/m/x.bin"), problem="damaged")
    text = card_text(bare, [bare])
    assert titles(text) == ["Facts"]
    assert "damaged" in text
    unmeasured = replace(RUN, facts={"passed": True})
    assert "Performance" not in card_text(replace(MODEL, analyses=(unmeasured,)), [])


def test_versions_are_in_order_of_size():
    text = card_text(MODEL, [MODEL, PACKED])
    assert text.index("| x/Tiny-1B-4bit |") < text.index("| Owner/Tiny-1B |")


HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/track.png)",
    "a | b | c",
    "`code` ``` fence",
    "\x1b]0;title\x07\x1b[31m",
    "line\nbreak\n# heading",
    "\u202egnp.exe",
    "x" * 4000,
    "<https://evil.example>",
    "&lt;b&gt;",
    "- a\n+ b\n1. c\n    code\n===\n---\n| a |\n|---|",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "field", ["id", "description", "licence", "url", "note", "architecture", "revision"]
)
def test_hostile_text_is_text(name, field):
    check(replace(MODEL, **{field: name}))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_paths_are_text(name):
    path = Path("/models") / name
    file = replace(MODEL.files[0], path=path)
    run = replace(RUN, path=path)
    check(replace(MODEL, path=path, files=(file,), analyses=(run,), tags=(name,)))


@given(st.text(max_size=60))
def test_any_text_is_text(text):
    check(replace(MODEL, id=text, description=text, note=text, licence=text))


def check(model):
    text = card_text(model, [model, replace(PACKED, id=model.id, licence=model.licence)])
    assert all(c.isprintable() or c == "\n" for c in text)
    html = rendered(text)
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {*("h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "br")} | {
        *("pre", "code", "ul", "li")
    }
    # The commands of the section on usage, and what a run is.
    assert html.count("<pre>") <= 2
    assert html.count("<li>") <= len(model.analyses)
    assert "<h3>" not in html
    assert "<h1>" in html
    assert html.count("<h1>") == 1
    assert html.count("<table>") <= 3
    cells = [row.count("<td>") for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)]
    assert set(cells) <= {0, 2, 5, 6}


def test_front_matter(tmp_path):
    path = tmp_path / "README.md"

    def read(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_readme(path)

    assert read("---\nlicense: mit\nbase_model: a/b\n---\n").base_models == ("a/b",)
    assert read("---\nlicense: other\nlicense_name: llama3\n---\n").licence == "llama3"
    assert read("---\r\nlicense: [mit, gpl]\r\n---\r\nHi\r\n").licence == "mit, gpl"
    prose = "# T\n\n[![b](x)](y)\n\n<p align=center>\n\n| a | b |\n\nThis is what it really is.\n"
    assert read(prose).description == "This is what it really is."
    for damaged in (
        "---\n: [\n---\nx",
        "---\n- a\n---\n",
        b"\xff\xfe\0",
        "---\n" + "[" * 10_000 + "\n---\n",
        "---\na: &a [x]\nlicense: *nowhere\n---\n",
        "",
    ):
        assert read(damaged).licence == ""
    long = read("word " * 1000).description
    assert len(long) <= 600
    assert read_readme(tmp_path / "none").description == ""
