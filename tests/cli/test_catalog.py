"""The catalog through its command."""

import json
import os
import random
import sys

import pytest
from models import invoke, refuses
from planted_space import point, revision
from stores_on_disk import CARD, empty_home, folder_model, gguf_file

HOSTILE = "m\x1b]0;evil\x07\x1b[31m[bold]x"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return empty_home(monkeypatch, tmp_path / "home")


@pytest.fixture
def models(tmp_path):
    root = tmp_path / "models"
    folder_model(root / "plain")
    (root / "plain" / "README.md").write_text(CARD)
    gguf_file(root / "packed" / "tiny.gguf", 1)
    return root


def catalog(*arguments, **environment):
    result = invoke("catalog", *arguments, **environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments, **environment):
    result = catalog(*arguments, **environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_whole_way(models, tmp_path):
    assert "2 new" in done("scan", models)
    assert "2 as before" in done("scan")
    listed = done("list", COLUMNS="80")
    assert "plain" in listed
    assert "2 models" in listed
    done("note", "plain", "my note")
    assert done("note", "plain") == "my note\n"
    done("tag", "plain", "good", "tiny")
    assert [m["id"] for m in json.loads(done("list", "--tag", "good", "--json"))] == ["plain"]
    done("tag", "plain", "tiny", "--remove")
    shown = json.loads(done("show", "pla", "--json"))
    assert (shown["tags"], shown["note"], shown["parameters"]) == (["good"], "my note", 48)
    assert shown["path"] == str(models / "plain")
    assert "my note" in done("show", shown["key"][:6])
    done("card", "plain", "--out", tmp_path / "new" / "card.md")
    assert (tmp_path / "new" / "card.md").read_text() == done("card", "plain")
    done("note", "plain", "--remove")
    assert done("note", "plain") == ""


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits(models, width):
    folder_model(models / ("long-" * 12 + "name"))
    done("scan", models)
    for line in done("list", COLUMNS=str(width)).splitlines():
        assert len(line) <= width
    whole = done("list", COLUMNS=str(width))
    assert ("licence" in whole) is (width == 200)
    assert "plain" in whole
    assert "llama" in whole or width == 80


def test_filters_and_orders(models):
    done("scan", models)

    def ids(*options):
        return [model["id"] for model in json.loads(done("list", "--json", *options))]

    assert ids("--format", "gguf") == ["packed"]
    assert ids("--sort", "size", "--reverse") == ["packed", "plain"]
    assert ids("--larger", "1KB", "--not-analyzed") == ["packed"]
    assert ids("--licence", "apache") == ["plain"]
    assert ids("--missing") == []
    refuses(catalog("list", "--sort", "sice"), "Use size", code=2)


def test_what_is_unknown_is_refused_with_a_hint(models):
    refuses(catalog("show", "x"), "Run `mlx-probe catalog scan` first", code=2)
    done("scan", models)
    refuses(catalog("show", "plaim"), "Did you mean plain", code=2)
    refuses(catalog("scan", models / "none"), "is no folder", code=2)
    refuses(catalog("tag", "plain", "two words"), "is no tag", code=2)
    refuses(catalog("tag", "plain", "x", "--remove"), "has no tag 'x'", code=2)
    refuses(catalog("forget"), "nothing to forget", code=2)


def test_duplicates_dedupe_and_undo(models, tmp_path):
    content = random.Random(0).randbytes(100_000)
    for name in "ab":
        (models / name).mkdir()
        (models / name / "model.gguf").write_bytes(content)
    paths = [models / name / "model.gguf" for name in "ab"]
    os.utime(paths[0], (10**9, 10**9))
    done("scan", models)
    result = json.loads(done("duplicates", "--json"))
    assert (len(result["groups"]), result["saves"]) == (1, 100_000)
    assert "links would save 100.0 kB" in done("duplicates")
    assert result["groups"][0]["copies"][0]["paths"] == [str(paths[0])]
    assert "1 file(s) to become hard links" in done("dedupe", "--dry-run")
    refuses(catalog("dedupe"), "nothing was done", "--yes", code=2)
    refuses(catalog("dedupe", "--json"), "asks no questions", code=2)
    assert not paths[0].samefile(paths[1])
    done("dedupe", "--yes")
    assert paths[0].samefile(paths[1])
    assert done("duplicates", "--json", "-q").count('"sha256"') == 0
    refuses(catalog("undo"), "nothing was done", code=2)
    assert json.loads(done("undo", "--yes", "--json"))["changed"] == [str(paths[1])]
    assert not paths[0].samefile(paths[1])
    assert paths[1].read_bytes() == content
    assert "0 file(s)" in done("undo", "--yes")


def test_what_stays_as_it_was_is_an_error(models):
    for name in "ab":
        (models / name).mkdir()
        (models / name / "model.gguf").write_bytes(b"x" * 1000)
    done("scan", models)
    with (models / "a" / "model.gguf").open("ab"):
        result = catalog("dedupe", "--yes")
    refuses(result, "1 files stay as they were")
    assert "open for writing" in result.stdout


def test_forgetting(models):
    done("scan", models)
    done("note", "plain", "x")
    refuses(catalog("forget", "plain"), "--yes", code=2)
    done("forget", "plain", "--yes")
    assert [m["id"] for m in json.loads(done("list", "--json"))] == ["packed"]
    (models / "packed" / "tiny.gguf").unlink()
    done("scan")
    assert "gone" in done("list", "--missing")
    done("forget", "--missing")
    assert [m["id"] for m in json.loads(done("list", "--json"))] == ["plain"]
    done("forget", "--folder", models)
    assert (models / "plain" / "model.safetensors").exists()


def test_hashes_on_request(models):
    done("scan", models)
    assert json.loads(done("show", "plain", "--json"))["files"][0]["sha256"] == ""
    done("scan", "--hash", "--json")
    assert len(json.loads(done("show", "plain", "--json"))["files"][0]["sha256"]) == 64


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_hostile_names_print_harmlessly(models):
    names = [HOSTILE, os.fsdecode(b"\xff\xfe"), "n" * 250, "new\nline"]
    for name in names:
        folder_model(models / name)
        (models / name / "README.md").write_text(f'---\nlicense: "{HOSTILE[:5]}"\n---\n')
    (models / HOSTILE / "copy.gguf").write_bytes(b"\x1b[31m")
    outputs = [catalog("scan", models).output]
    for command in (["list"], ["duplicates"], ["dedupe", "--dry-run"]):
        outputs += [done(*command), done(*command, "--json")]
    for model in json.loads(done("list", "--json")):
        outputs += [done("show", model["key"]), done("show", model["key"], "--json")]
        outputs += [done("card", model["key"])]
        done("card", model["key"], "--out", "card.md")
    for output in outputs:
        assert all(c.isprintable() or c == "\n" for c in output)
    assert any("[bold]x" in output for output in outputs)


def test_a_damaged_catalog_is_one_message(home, models):
    (home / "catalog.sqlite").write_bytes(b"nonsense" * 500)
    refuses(catalog("list"), "is damaged", "Move that file away")
    other = home / "other.sqlite"
    result = invoke("catalog", "--database", other, "scan", models)
    assert result.exit_code == 0
    assert other.exists()


def test_space_from_the_first_look_to_the_empty_bin(home, tmp_path):
    listed = done("space", COLUMNS="100")
    assert "Nothing may go" in listed
    old = revision(home, "owner/model", "old", 50_000)
    point(revision(home, "owner/model", "new"))
    assert "1 may go" in done("space", "--limit", "0")
    found = json.loads(done("space", "--json"))
    (item,) = found["items"]
    assert str(old) in item["paths"]
    assert found["frees"] == item["frees"] > 50_000
    assert "1 may go" in done("space", "--remove", "old-revisions", "--dry-run")
    refuses(catalog("space", "--remove", "old-revisions"), "nothing was done", "--yes", code=2)
    refuses(catalog("space", "--remove", "partial", "--json"), "asks no questions", code=2)
    refuses(catalog("space", "--remove", "snapshot"), "snapshots", code=2)
    refuses(catalog("space", "--restore", "x", "--empty-bin"), "exclude each other", code=2)
    refuses(catalog("space", "--restore", "x"), "there is no batch 'x'", code=2)
    assert old.is_dir()
    moved = json.loads(done("space", "--remove", "old-revisions", "--yes", "--json"))
    assert not old.exists()
    assert "2 paths are back" in done("space", "--restore", moved["batch"])
    assert (old / "model.safetensors").is_file()
    assert "--empty-bin` frees" in done("space", "--remove", "old-revisions", "--yes")
    refuses(catalog("space", "--empty-bin"), "nothing was done", code=2)
    assert "2 paths are deleted" in done("space", "--empty-bin", "--yes")
    assert "The bin is empty" in done("space", "--empty-bin")
