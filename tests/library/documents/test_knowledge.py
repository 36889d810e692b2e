"""Search in documents: what is there is found, in any language, whatever the query is."""

import json
import os
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import invoke, refuses

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.documents import knowledge
from mlx_probe.library.documents.knowledge import default_index, search

PAGES = {
    "rank.md": (
        "---\ntitle: On ranks\n---\n# On ranks\n\nText above.\n\n## Collapse\n\n"
        "The numerical rank collapsed after 2,000 steps of `val_bpb`.\n\n## Else\n\n"
        'Nothing: "quoted words" here.\n'
    ),
    "deep/学习率.md": (
        "# 学习率太大\n\n训练发散，因为学习率太大。\n\n## 解决方法\n\n降低学习率，增加预热步数。\n"
    ),
    "mixed.md": "# Mixed\n\nQwen3模型的rank，见[实验](rank.md)。Größe: 5.\n",
    "long.md": f"# Long\n\n{'many before ' * 60}needle {'and many after ' * 60}\n",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "data" / "catalog.sqlite"))


@pytest.fixture
def folder(tmp_path):
    for name, text in PAGES.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "notes"


def found(query, folder):
    return [(hit.file.name, hit.line) for hit in search(query, [folder])]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("collapse", ("rank.md", 10)),
        ("collapses rank", ("rank.md", 10)),  # other forms of the words
        ("numeric", ("rank.md", 10)),  # the beginning of one
        ("val_bpb", ("rank.md", 10)),
        ('"quoted words"', ("rank.md", 14)),
        ("预热", ("学习率.md", 7)),  # two characters
        ("热", ("学习率.md", 7)),
        ("学习率", ("学习率.md", 3)),
        ("发散 太大", ("学习率.md", 3)),
        ("模型的", ("mixed.md", 3)),
        ("模型 qwen3", ("mixed.md", 3)),
        ("grosse OR größe", ("mixed.md", 3)),
        ("grösse", None),
        ("grose", None),
        ("NEEDLE", ("long.md", 3)),
        ("nothing that is there: collapse", ("rank.md", 10)),
        ("率习", None),  # not in this order
        ("absent", None),
    ],
)
def test_words_are_found(folder, query, best):
    hits = found(query, folder)
    assert (hits[0] if hits else None) == best


def test_what_was_found_is_marked(folder):
    [hit] = search('"numerical rank"', [folder])
    assert [hit.snippet[a:b] for a, b in hit.spans] == ["numerical rank"]
    assert (hit.title, hit.heading) == ("On ranks", "Collapse")
    [hit] = search("needle", [folder])
    assert len(hit.snippet) < 260
    assert [hit.snippet[a:b] for a, b in hit.spans] == ["needle"]
    hit = search("学习率", [folder])[0]
    assert {hit.snippet[a:b] for a, b in hit.spans} == {"学习率"}
    # A title is that of every section, and is one place.
    assert len([h for h in search("ranks", [folder]) if h.file.name == "rank.md"]) == 2


def test_the_index_follows_the_files(folder):
    assert found("needle", folder)
    (folder / "long.md").write_text("# Long\n\nA haystack.\n")
    (folder / "new.md").write_text("# New\n\nAnother needle.\n")
    assert found("needle", folder) == [("new.md", 3)]
    (folder / "new.md").unlink()
    (folder / "rank.md").rename(folder / "moved.md")
    assert found("needle", folder) == []
    assert found("collapse", folder) == [("moved.md", 10)]


def test_nothing_that_is_unchanged_is_read_again(folder, monkeypatch):
    found("rank", folder)
    monkeypatch.setattr(knowledge, "read_page", lambda text: pytest.fail("it was read"))
    os.utime(folder / "rank.md")
    assert found("collapse", folder) == [("rank.md", 10)]


def test_what_is_written_from_elsewhere_is_found_where_it_comes_from(tmp_path):
    notes = tmp_path / "project"
    invoke("docs", "init", notes, "--lang", "en")
    invoke("docs", "new", "lesson", "Docstrings matter", "--dir", notes)
    invoke("docs", "rules", "--dir", notes)
    invoke("docs", "index", "--dir", notes)
    assert (notes / "AGENTS.md").exists()
    assert "Docstrings" in (notes / "index.md").read_text()
    [lesson, rules] = sorted({hit.file for hit in search("docstrings", [notes])})
    assert (lesson.parent.name, rules.name) == ("lessons", "rules.md")


def test_only_the_folders_that_are_named_are_searched(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "page.md").write_text("# Other\n\nA collapse of its own.\n")
    assert {hit.file for hit in search("collapse", [folder, other])} == {
        folder / "rank.md",
        other / "page.md",
    }
    assert found("collapse", other) == [("page.md", 3)]


@pytest.mark.parametrize(
    "content", [b"", b"no database " * 200, b"SQLite format 3\x00" + b"x" * 99]
)
def test_a_damaged_index_is_made_anew(folder, content):
    found("rank", folder)
    default_index().write_bytes(content)
    assert found("collapse", folder) == [("rank.md", 10)]
    assert sqlite3.connect(default_index()).execute("PRAGMA user_version").fetchone()[0] > 0


def test_without_a_place_for_the_index_it_is_searched_all_the_same(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "file"))
    assert found("collapse", folder) == [("rank.md", 10)]


HOSTILE = (
    *('"', "'", 'a"b', "rank*", "rank NEAR collapse", "title:rank", "rank AND", "(rank", "^rank"),
    *("rank) OR (1", "'; DROP TABLE words; --", "-rank", "rank OR NOT", "{rank}", "\x00rank"),
    *("rank " * 5000, "a" * 100_000, "NEAR(rank, 5)", '"rank', "“rank", "%", "_", "\u200brank"),
    "\ud800",
)


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_no_query_is_syntax(folder, query):
    with suppress(ConfigError):
        search(query, [folder])
    assert found("collapse", folder) == [("rank.md", 10)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text())
def test_any_text_is_a_query(folder, query):
    try:
        hits = search(query, [folder])
    except ConfigError:
        return
    for hit in hits:
        assert all(0 <= a < b <= len(hit.snippet) for a, b in hit.spans)


def test_the_command_finds_known_projects_from_anywhere(folder, tmp_path, monkeypatch):
    notes = tmp_path / "project"
    assert invoke("docs", "init", notes, "--lang", "en").exit_code == 0
    invoke("docs", "log", "the collapse again", "--dir", notes)
    monkeypatch.chdir(folder)
    entries = json.loads(invoke("knowledge", "collapse", "--json").stdout)
    assert {entry["file"] for entry in entries} == {"rank.md", str(notes / "log.md")}
    text = invoke("knowledge", "collapse", "--dir", folder).stdout
    assert f"{folder / 'rank.md'}:10  On ranks · Collapse\n" in text
    assert "Nothing was found" in invoke("knowledge", "absent").stdout
    refuses(invoke("knowledge", "***"), "no words", code=2)
    refuses(invoke("knowledge", "x", "--dir", tmp_path / "gone"), "no file or folder", code=2)
