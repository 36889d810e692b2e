import json
import os

import numpy as np
import pytest
from weightfiles import write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source import SOURCES, resolve

INDEX = "model.safetensors.index.json"


def test_folder(tmp_path):
    folder = tmp_path / "llama"
    (folder / "original").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "README.md", "original/x.safetensors"):
        (folder / name).write_bytes(b"x")
    expected = ModelFiles(
        "llama",
        "local",
        folder,
        (folder / "model.safetensors",),
        None,
        folder / "config.json",
    )
    assert resolve(str(folder)) == expected


@pytest.mark.parametrize("name", ["m.gguf", "M.GGUF", "m.safetensors"])
@pytest.mark.parametrize("config", [True, False])
def test_file(tmp_path, name, config):
    path, beside = tmp_path / name, tmp_path / "config.json"
    path.write_bytes(b"x")
    if config:
        beside.write_bytes(b"{}")
    files = resolve(str(path))
    assert (files.model_id, files.revision, files.path) == (path.stem, "local", path)
    assert (files.weights, files.config) == ((path,), beside if config else None)


def test_current_folder_has_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "phi"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"x")
    monkeypatch.chdir(folder)
    assert resolve(".").model_id == "phi"


def test_snapshot_of_links(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "c0ffee"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    index = json.dumps({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}})
    for name in (INDEX, "x.safetensors", "y.safetensors"):
        (blobs / name[0]).write_text(index if name == INDEX else "x")
        (snapshot / name).symlink_to(f"../../blobs/{name[0]}")
    files = resolve(str(snapshot))
    assert files.weights == (snapshot / "x.safetensors", snapshot / "y.safetensors")
    assert (files.index, files.revision) == (snapshot / INDEX, "local")


@pytest.mark.parametrize("name", ["m[1]", "m*", "?", "a b@c", "{x}", "größe"])
def test_names_are_no_patterns(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.gguf").write_bytes(b"x")
    for text in (str(folder), str(folder / f"{name}.gguf")):
        assert resolve(text).weights == (folder / f"{name}.gguf",)


def test_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.gguf").write_bytes(b"x")
    for text in ("~", "~/m.gguf"):
        assert resolve(text).weights == (tmp_path / "m.gguf",)


def test_several_models_in_a_folder(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=r"a\.gguf \(1 byte\), b\.gguf \(1 byte\)") as e:
        resolve(str(tmp_path))
    assert "the file's path" in e.value.remedy
    assert resolve(str(tmp_path / "b.gguf")).weights == (tmp_path / "b.gguf",)


def test_snapshot_opens(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "c0ffee"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in ("x", "y"):
        write_safetensors(blobs / name, {name: np.ones((2, 2), np.float32)})
        (snapshot / f"{name}.safetensors").symlink_to(f"../../blobs/{name}")
    index = {"weight_map": {"x": "x.safetensors", "y": "y.safetensors"}}
    (snapshot / INDEX).write_text(json.dumps(index))
    with open_checkpoint(resolve(str(snapshot))) as checkpoint:
        assert [tensor.name for tensor in checkpoint.tensors] == ["x", "y"]


def test_broken_links_are_no_weights(tmp_path):
    (tmp_path / "m.gguf").symlink_to("gone")
    with pytest.raises(SourceError, match="has no weights"):
        resolve(str(tmp_path))


def test_index_that_leaves_the_folder(tmp_path):
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "../x.safetensors"}}')
    with pytest.raises(CheckpointError, match="outside of the folder"):
        resolve(str(tmp_path))


def test_no_weights(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SourceError, match="has no weights"):
        resolve(str(tmp_path))
    with pytest.raises(SourceError, match=r"readme\.txt is not a weight file") as e:
        resolve(str(tmp_path / "readme.txt"))
    assert ".safetensors or .gguf" in e.value.remedy


def test_gone_since_it_was_named(tmp_path):
    with pytest.raises(SourceError, match=r"m\.gguf does not exist"):
        SOURCES["local"].fetch(ModelRef("m", "local", str(tmp_path / "m.gguf")))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_unreadable_folder(tmp_path):
    folder = tmp_path / "secret"
    folder.mkdir(mode=0o000)
    with pytest.raises(SourceError, match=r"cannot read .*secret: Permission denied"):
        resolve(str(folder))


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(SourceError, match=r"cannot read .*: Permission denied"):
        resolve(str(tmp_path))
