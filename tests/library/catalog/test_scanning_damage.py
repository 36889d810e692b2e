"""Folders that are hard to scan: broken files, links, permissions, odd names, very many files."""

import os
import sys

import pytest
from stores_on_disk import folder_model, model_ids, safetensors_file

from mlx_probe.library.catalog import load_models, scan

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_what_cannot_be_read_keeps_its_entry(database, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_bytes(b"garbage that is no header at all")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "m-00001-of-00003.gguf").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "model.safetensors.index.json").write_text("[" * 50_000)
    report = scan(database, [tmp_path])
    models = load_models(database)
    assert [model.id for model in models] == ["a", "b", "c", "d"]
    assert all(model.problem for model in models)
    assert len(report.problems) == 4
    assert models[0].size == 32


def test_links_in_circles_and_to_everything(database, tmp_path):
    root = tmp_path / "root"
    folder_model(root / "m")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to("self")
    (root / "self.gguf").symlink_to("self.gguf")
    (root / "all").symlink_to("/", target_is_directory=True)
    (root / "m" / "up").symlink_to("..", target_is_directory=True)
    report = scan(database, [root])
    assert (model_ids(database), report.troubles) == (["m"], [])


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_folders_that_may_not_be_read(database, tmp_path):
    folder_model(tmp_path / "m")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        report = scan(database, [tmp_path])
    finally:
        closed.chmod(0o700)
    assert model_ids(database) == ["m"]
    assert report.troubles == [(closed, "Permission denied")]


def test_a_folder_that_vanishes_while_it_is_read(database, tmp_path, monkeypatch):
    folder_model(tmp_path / "m")
    (tmp_path / "closed").mkdir()
    original = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr("mlx_probe.source.stores.discovery.os.scandir", scandir)
    report = scan(database, [tmp_path])
    assert model_ids(database) == ["m"]
    assert report.troubles == [(tmp_path / "closed", "Permission denied")]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_names_that_are_no_text(database, tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff\xfe\x1b]0;evil\x07"
    os.mkdir(folder)  # noqa: PTH102
    original = safetensors_file(tmp_path / "src" / "model.safetensors")
    os.rename(original, folder + b"/model.safetensors")  # noqa: PTH104
    scan(database, [tmp_path])
    (model,) = load_models(database)
    assert model.id == "\\udcff\\udcfe\x1b]0;evil\x07"
    assert os.fsencode(model.path) == folder
    assert model.parameters == 48
    assert scan(database).unchanged == 1


@pytest.mark.slow
def test_a_large_tree(database, tmp_path):
    folder_model(tmp_path / "d7" / "m")
    for i in range(100):
        folder = tmp_path / f"d{i}"
        folder.mkdir(exist_ok=True)
        for j in range(100):
            (folder / f"file{j}.txt").touch()
    assert scan(database, [tmp_path]).troubles == []
    assert model_ids(database) == ["m"]
