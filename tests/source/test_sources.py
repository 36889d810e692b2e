"""Every source, and one more that is only in the table: what a newcomer would write."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hub_server import digest
from models import invoke
from weightfiles import write_safetensors

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.library.download import DownloadConfig, download, verify
from mlx_probe.report.docs import TABLES
from mlx_probe.source import SOURCES, Source, model_forms, parse_reference, resolve
from mlx_probe.source.protocol import Form
from mlx_probe.source.transfer.listing import listing_of
from mlx_probe.source.transfer.progress import DownloadProgress


@pytest.mark.parametrize("key", SOURCES)
def test_every_form_in_the_documentation_is_parsed(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = [text for form in SOURCES[key].forms for text in form.texts]
    for text in (*texts, *SOURCES[key].example.split(", ")):
        if key == "local":
            # A path is a reference if it exists.
            text = text.lstrip("/")
            Path(text).mkdir(parents=True, exist_ok=True)
        assert parse_reference(text).source == key


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_says_what_the_command_line_shows(source):
    assert all((source.title, source.example, source.hint, source.forms))
    assert bool(source.where) == (source.fetch_remote is not None)
    assert (source.title, source.example) in model_forms()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The made-up source: ``shelf:NAME`` is a folder of that name on a shelf."""
    write_safetensors(
        _made(tmp_path / "shelf" / "book") / "model.safetensors", {"w": np.eye(3, dtype=np.float32)}
    )

    def parse(text, revision):
        name = text.removeprefix("shelf:")
        return None if name == text else ModelRef(text, "shelf", name, revision)

    def fetch(ref, progress=None):
        weights = tmp_path / "shelf" / ref.name / "model.safetensors"
        return ModelFiles(ref.text, ref.revision or "1", weights.parent, (weights,))

    def list_model(ref, options):
        files = fetch(ref)
        return listing_of("shelf", ref.name, "1", files.path, (), files, options.folder, link=False)

    source = Source(
        title="a book",
        example="shelf:book",
        hint="shelf:NAME",
        forms=(Form(("shelf:NAME",), "a folder on the shelf", "`1`"),),
        parse=parse,
        fetch=fetch,
        list_model=list_model,
    )
    monkeypatch.setitem(SOURCES, "shelf", source)
    return tmp_path / "shelf"


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def test_a_new_source_is_parsed_and_fetched(shelf):
    assert parse_reference("shelf:book", "2") == ModelRef("shelf:book", "shelf", "book", "2")
    assert resolve("shelf:book").weights == (shelf / "book" / "model.safetensors",)


def test_a_new_source_is_downloaded_and_verified(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    config = DownloadConfig(local_dir=tmp_path / "here")
    done = download(parse_reference("shelf:book"), config)
    content = (shelf / "book" / "model.safetensors").read_bytes()
    assert (tmp_path / "here" / "model.safetensors").read_bytes() == content
    assert digest(content) in done.manifest.read_text()
    assert not verify(str(tmp_path / "here")).damaged


def test_a_new_source_is_in_help_messages_and_documentation(shelf):
    lines = invoke("--help").stdout.splitlines()
    assert ["a", "book", "shelf:book"] in [line.split() for line in lines]
    with pytest.raises(SourceError) as e:
        resolve("neither/nor/here")
    assert e.value.remedy.endswith("the https:// address of a weight file, or shelf:NAME")
    assert "| `shelf:NAME` | a folder on the shelf | `1` |" in TABLES["SOURCES"]()
    assert "shelf:book at 1" in invoke("inspect", "shelf:book").stdout


@pytest.mark.parametrize("fails", [False, True])
def test_progress_is_passed_in_and_closed(shelf, monkeypatch, fails):
    calls = []

    class Recorder(DownloadProgress):
        def close(self):
            calls.append("closed")

    def fetch(ref, progress):
        calls.append(progress)
        if fails:
            raise SourceError("no", "none")
        return SOURCES["local"].fetch(ModelRef(ref.text, "local", str(shelf / "book")))

    monkeypatch.setitem(SOURCES, "shelf", replace(SOURCES["shelf"], fetch=fetch))
    progress = Recorder()
    with pytest.raises(SourceError) if fails else nullcontext():
        resolve("shelf:book", progress=progress)
    assert calls == [progress, "closed"]
