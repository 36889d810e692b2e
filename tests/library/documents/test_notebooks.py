"""Notebooks as documents."""

import sys

import pytest
from models import invoke, refuses
from project import ROOT

from mlx_probe.library.documents.check import check_documents

NOTEBOOK = ROOT / "notebooks" / "20_per_layer.ipynb"


def test_without_nbconvert_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbconvert.exporters", None)
    out = tmp_path / "page.md"
    said = refuses(invoke("docs", "notebook", NOTEBOOK, "--out", out), "nbconvert", code=2)
    assert "mlx-probe[notebooks]" in said
    assert not out.exists()


def test_what_is_no_notebook_is_refused(tmp_path):
    for path, says in (
        (tmp_path, "holds no notebook"),
        (tmp_path / "gone.ipynb", "is no notebook"),
    ):
        refuses(invoke("docs", "notebook", path, "--out", tmp_path / "x.md"), says, code=2)
    for name in ("a.ipynb", "b.ipynb"):
        (tmp_path / name).write_text("no JSON")
    refuses(invoke("docs", "notebook", tmp_path, "--out", tmp_path / "x.md"), "several", code=2)


def test_a_notebook_becomes_a_sound_document_with_its_plots(tmp_path, monkeypatch):
    pytest.importorskip("nbconvert")
    monkeypatch.setenv("MLX_PROBE_LANG", "en")
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes(NOTEBOOK.read_bytes())
    out = tmp_path / "pages" / "layers.md"
    result = invoke("docs", "notebook", copy, "--out", out)
    assert result.exit_code == 0, result.output
    assert check_documents([out], ignore=("dead-link",)) == []
    images = sorted(path.name for path in (tmp_path / "pages" / "layers_files").iterdir())
    text = out.read_text("utf-8")
    assert images
    assert all(f"(layers_files/{name})" in text for name in images)
    assert "<style" not in text
    refuses(invoke("docs", "notebook", copy, "--out", out), "is there already")
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert [each.rule for each in check_documents([out], only=("stale",))] == ["stale"]
    (tmp_path / "bad.ipynb").write_text('{"cells": 5}')
    words = ("docs", "notebook", tmp_path / "bad.ipynb", "--out", tmp_path / "bad.md")
    refuses(invoke(*words), "cannot be read as a notebook")
