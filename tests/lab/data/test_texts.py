"""Every format and origin gives the same documents; what is damaged is named."""

import gzip
import io
import json
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT
from token_folders import all_documents, sentences
from wheels import write_wheel

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.origins import ORIGINS
from mlx_probe.lab.data.texts import TEXTS
from mlx_probe.lab.data.texts.json_objects import json_values

LINES = sentences(60)


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def jsonl(rows, key="text"):
    return "".join(json.dumps({"id": i, key: text}) + "\n" for i, text in enumerate(rows)).encode()


def tar(files):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


ROWS = pa.table({"id": range(60), "text": LINES})
CASES = {
    "plain.txt": ("\n".join(LINES).encode(), {"document": "line"}),
    "plain.unknown": ("\n".join(LINES).encode(), {"document": "line"}),
    "mark.md": (("\ufeff" + "\n\n".join(LINES)).encode(), {"document": "paragraph"}),
    "plain.txt.gz": (gzip.compress("\r\n".join(LINES).encode()), {"document": "line"}),
    "two.txt.gz": (
        gzip.compress("\n".join(LINES[:30]).encode() + b"\n")
        + gzip.compress("\n".join(LINES[30:]).encode()),
        {"document": "line"},
    ),
    "plain.txt.zst": (zstd("\n".join(LINES).encode()), {"document": "line"}),
    "rows.jsonl": (jsonl(LINES), {}),
    "rows.jsonl.gz": (gzip.compress(jsonl(LINES)), {}),
    "rows.ndjson.zst": (zstd(jsonl(LINES, "a.b")), {"text_column": "a.b"}),
    "rows.json": (json.dumps([{"a": {"b": t}} for t in LINES]).encode(), {"text_column": "a.b"}),
    "one_by_one.json": (jsonl(LINES), {}),
    "lists.json": (json.dumps([{"p": t.split(" ")} for t in LINES]).encode(), {"text_column": "p"}),
    "rows.parquet": (parquet(ROWS, row_group_size=7), {}),
    "nested.parquet": (
        parquet(pa.table({"a": [{"b": t.split(" "), "c": 1} for t in LINES]})),
        {"text_column": "a.b"},
    ),
    "poems.tgz": (
        gzip.compress(
            tar(
                {
                    "package/README.md": b"about",
                    "package/package.json": b"{}",
                    "package/a.json": json.dumps([{"text": t} for t in LINES[:20]]).encode(),
                    "package/b.jsonl.gz": gzip.compress(jsonl(LINES[20:59])),
                    "package/c.txt": LINES[59].encode(),
                    "package/picture.png": b"\x89PNG",
                    "package/ranks.json": b'[{"rank": 3}]',
                }
            )
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_formats(name, run, tmp_path):
    content, settings = CASES[name]
    (tmp_path / name).write_bytes(content)
    manifest = run(tmp_path / name, **settings)
    lists = settings.get("text_column") == "p" or name == "nested.parquet"
    expected = [text.replace(" ", "\n") if lists else text for text in LINES]
    assert all_documents(tmp_path / "tokens") == sorted(expected)
    assert manifest.dropped["no column"] == (1 if name == "poems.tgz" else 0)


def test_a_folder_is_read_in_the_order_of_names(run, tmp_path):
    folder = tmp_path / "texts"
    (folder / "b" / ".hidden").mkdir(parents=True)
    (folder / "loop").symlink_to(folder)
    for number, line in enumerate(LINES):
        (folder / ("b" if number % 2 else ".") / f"{number:02d}.txt").write_text(line, "utf-8")
    (folder / "b" / ".hidden" / "x.txt").write_text("hidden")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    manifest = run(folder)
    assert all_documents(tmp_path / "tokens") == sorted(LINES)
    names = [source.file for source in manifest.sources]
    assert names == sorted(names)
    assert manifest.settings["document"] == "file"


def test_a_data_set_of_the_hub(run, tmp_path, hub):
    files = {
        "README.md": b"about",
        "data/train-0.parquet": parquet(ROWS.slice(0, 30)),
        "data/train-1.parquet": parquet(ROWS.slice(30)),
        "data/test-0.parquet": parquet(ROWS.slice(0, 10)),
        "picture.png": b"\x89PNG",
    }
    hub.repos["owner/poems"] = {"main": files}
    manifest = run("hub:owner/poems:data/train-*")
    assert all_documents(tmp_path / "tokens") == sorted(LINES)
    assert [source.file for source in manifest.sources] == [
        "data/train-0.parquet",
        "data/train-1.parquet",
    ]
    assert hub.downloaded() == ["train-0.parquet", "train-1.parquet"]
    everything = run("hub:owner/poems", out=tmp_path / "all")
    assert everything.dropped["duplicate"] == 10
    with pytest.raises(SourceError, match=r"hub:owner/poems:\*.csv has no files of text"):
        run("hub:owner/poems:*.csv", out=tmp_path / "none")
    with pytest.raises(SourceError, match="the Hub has no data set owner/others"):
        run("hub:owner/others", out=tmp_path / "none")


@pytest.mark.slow
def test_text_of_a_package(run, tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "MLX_PROBE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    texts = {f"plays/{n}.md": line.encode() for n, line in enumerate(LINES)}
    noise = {"README.md": b"about", "plays/__init__.py": b"", "plays/LICENSE.txt": b"free"}
    write_wheel(folder, {**texts, **noise}, name="plays")
    run("pypi:plays")
    assert all_documents(tmp_path / "tokens") == sorted(LINES)
    # From the cache, which needs no index.
    for wheel in folder.iterdir():
        wheel.unlink()
    run("pypi:plays:plays/[0-4]*", out=tmp_path / "some")
    assert len(all_documents(tmp_path / "some")) == 45
    with pytest.raises(SourceError, match=r"no file is called '\*.txt'"):
        run("pypi:plays:*.txt", out=tmp_path / "none")


BAD = {
    "latin.txt": (b"good\nb\xe9d\n", "is not UTF-8: byte 0xe9 at position 6"),
    "cut.txt": ("good é".encode()[:-1], "is not UTF-8: byte 0xc3 at position 5"),
    "empty.txt": (b"", "the text is empty"),
    "blank.txt": (b" \n\n\t\n", "the text is empty"),
    "short.txt": (b"one", "the text is one document"),
    "cut.txt.gz": (gzip.compress(b"good\n" * 999)[:-9], "cut.txt.gz is damaged"),
    "no.txt.gz": (b"no gzip", "no.txt.gz is damaged"),
    "no.txt.zst": (b"no zstd at all", "no.txt.zst is damaged"),
    "cut.txt.zst": (zstd(os.urandom(99999).hex().encode())[:-99], "cut.txt.zst is damaged"),
    "bad.jsonl": (jsonl(LINES) + b"{", "line 61 is not JSON"),
    "latin.jsonl": (b'{"text": "b\xe9"}\n', "line 1 is not UTF-8"),
    "number.jsonl": (b'{"text": 3.5}\n', "line 1: column 'text' holds 3.5, not text"),
    "object.json": (b'[{"text": {"a": 1}}]', "object 1: column 'text' holds an object"),
    "other.jsonl": (jsonl(LINES, "body"), r"has no column 'text'; it has id, body\n  Name the"),
    "other.parquet": (
        parquet(pa.table({"body": LINES})),
        r"has no column 'text'; it has body\n  Name the",
    ),
    "number.parquet": (parquet(pa.table({"text": [1, 2]})), "row 1: column 'text' holds 1"),
    "no.parquet": (b"PAR1 no PAR1", "no.parquet is damaged, or no Parquet file"),
    "rows.parquet.gz": (gzip.compress(parquet(ROWS)), "Parquet is not read compressed"),
    "open.json": (b'[{"text": "a"}', "is not JSON: it has no end"),
    "comma.json": (b'[{"text": "a"} {"text": "b"}]', "a comma is missing"),
    "more.json": (b'[{"text": "a"}] x', "something follows the array"),
    "cut.json": (b'[{"text": "a', "is not JSON"),
    "no.tar": (b"no tar at all" * 99, "no.tar is damaged"),
    "rows.tar": (tar({"a.parquet": parquet(ROWS)}), "a.parquet is not read from archives"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(name, run, tmp_path):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        run(tmp_path / name)
    assert caught.value.remedy
    assert not list((tmp_path / "tokens").glob("*.bin"))


def test_sources_that_are_none(run, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match=r"folder holds no text: no file ends in .txt"):
        run(tmp_path / "folder")
    with pytest.raises(SourceError, match=r"nothing does not exist\n  Give a file, a folder"):
        run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="sources cannot be"):
        run()


def test_rows_without_text_are_counted_and_named(run, tmp_path):
    texts = [*LINES[:3], None, *LINES[3:], float("nan"), [], "\ud800", "  "]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts) + '{"id": 3}\n')
    manifest = run(path)
    assert manifest.dropped == {"duplicate": 0, "empty": 1, "no text": 4, "no column": 1}
    assert f"{path}: 4 records have no text, the first is number 4" in manifest.notes
    assert f"{path}: 1 records have no 'text', the first is number 66" in manifest.notes
    assert all_documents(tmp_path / "tokens") == sorted(LINES)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)


@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3)), st.integers(1, 9))
def test_json_arrives_in_pieces(rows, size):
    text = json.dumps(rows, indent=1)
    blocks = (text[i : i + size] for i in range(0, len(text), size))
    assert list(json_values(blocks, "rows.json")) == rows


def test_the_page_has_every_format_and_origin():
    page = (ROOT / "docs" / "en" / "data.md").read_text("utf-8")
    for form in TEXTS.values():
        assert f"| {form.title} | " in page
        assert all(f"`{suffix}`" in page for suffix in form.suffixes)
    for origin in ORIGINS.values():
        examples = ", ".join(f"`{example}`" for example in origin.example.split(", "))
        assert f"| {origin.title} | {examples} |" in page
