"""The table of formats: what it says, and that one record and one file make a new format."""

import json
import sys
from importlib import import_module
from types import ModuleType

import pytest
from weightfiles import model_files

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.formats.header import Header
from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.core.formats import FORMATS, Format, format_of, index_suffixes, weight_suffixes
from mlx_probe.core.records import TensorInfo
from mlx_probe.report.docs import TABLES
from mlx_probe.source import resolve
from mlx_probe.source.selection import Selection, select_files
from mlx_probe.source.stores.discovery import find_in_folder


def test_suffixes_are_in_order_of_preference():
    assert weight_suffixes() == (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".npz")
    assert index_suffixes() == (".safetensors.index.json", ".bin.index.json")


@pytest.mark.parametrize(("name", "form"), FORMATS.items())
def test_a_record_is_consistent(name, form):
    assert callable(import_module(form.reader).read_header)
    assert set(form.indexed) <= set(form.suffixes)
    assert all(format_of(suffix.upper()) is form for suffix in form.suffixes)
    assert all(adapter.endswith(form.suffixes) for adapter in form.adapters)
    assert all(glob.endswith(form.suffixes) for glob in form.not_weights)
    assert form.title.lower() == name
    assert form.content


def test_no_format_has_another_ones_suffix():
    assert len(set(weight_suffixes())) == len(weight_suffixes())
    assert format_of(".onnx") is None
    assert format_of("") is None


def read_header(path, file, size):
    """One vector of float32 behind six bytes."""
    assert file.read(6) == b"MADEUP"
    return Header("made_up", (TensorInfo("x", "F32", ((size - 6) // 4,), path, 6, size),), {}, size)


@pytest.fixture
def made_up(monkeypatch):
    """A format that the package does not know: a module and a record."""
    module = ModuleType("made_up_reader")
    module.read_header = read_header
    monkeypatch.setitem(sys.modules, module.__name__, module)
    form = Format(
        title="made_up",
        reader=module.__name__,
        names=("network.made",),
        content="one vector",
        indexed=(".made",),
        signature=b"MADEUP",
        adapters=("adapter.made",),
        not_weights=("cache*.made",),
    )
    monkeypatch.setitem(FORMATS, "made_up", form)
    return form


def write(path):
    path.write_bytes(b"MADEUP" + bytes(8))
    return path


@pytest.mark.parametrize("name", ["m.made", "M.MADE", "sha256-of-a-store"])
def test_a_new_format_is_read(made_up, tmp_path, name):
    with open_checkpoint(model_files(write(tmp_path / name))) as checkpoint:
        assert checkpoint.framework == "made_up"
        (weight,) = checkpoint.weights()
        assert [chunk.tolist() for chunk in weight.chunks()] == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.made", "config.json", "README.md"], Selection(("a.made",), None, "config.json")),
        # By preference, by the usual name, by an index, without what is no weight file.
        (["a.made", "model.npz"], Selection(("model.npz",))),
        (["a.made", "network.made"], Selection(("network.made",))),
        (
            ["network.made.index.json", "a-1.made", "a-2.made"],
            Selection((), "network.made.index.json"),
        ),
        (["a.made", "cache-1.made"], Selection(("a.made",))),
        (
            ["adapter.made", "adapter_config.json"],
            Selection(("adapter.made",), None, "adapter_config.json"),
        ),
    ],
)
def test_a_new_format_is_fetched(made_up, names, expected):
    assert select_files(dict.fromkeys(names, 1), "M") == expected


def test_a_new_format_is_opened_by_reference(made_up, tmp_path):
    write(tmp_path / "network.made")
    assert resolve(str(tmp_path)).weights == (tmp_path / "network.made",)
    assert resolve(str(tmp_path / "network.made")).model_id == "network"


def test_a_new_format_is_seen_in_folders(made_up, tmp_path):
    write(tmp_path / "network.made")
    write(tmp_path / "cache.made")
    (tmp_path / "config.json").write_text(json.dumps({}))
    (model,) = find_in_folder(tmp_path, lambda path, why: pytest.fail(why))
    assert model.weights == (tmp_path / "network.made",)
    assert model.certain
    assert model.files.config == tmp_path / "config.json"


def test_messages_name_a_new_format(made_up, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(model_files(path))
    assert error.value.remedy.endswith("or .npz or .made")
    with pytest.raises(SourceError) as missing:
        resolve(str(path))
    assert missing.value.remedy.endswith("or .npz or .made")
    with pytest.raises(SourceError) as nothing:
        select_files({"x.onnx": 1}, "M")
    assert nothing.value.remedy.endswith("or .npz or .made files")


def test_the_documentation_lists_a_new_format(made_up):
    assert "| made_up | `.made`, or no suffix | one vector |" in TABLES["FORMATS"]()
