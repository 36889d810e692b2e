"""The table of packings: each record leads to a scheme, and one record and one file suffice."""

import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import PACKINGS, Packing, open_checkpoint
from mlx_probe.checkpoint.packings.protocol import Claim, Layout
from mlx_probe.core.errors import PackingError
from mlx_probe.report.docs import TABLES


@pytest.mark.parametrize("name", PACKINGS)
def test_a_record_names_a_scheme(name):
    scheme = import_module(PACKINGS[name].scheme)
    assert callable(scheme.claim)
    assert callable(scheme.layout)
    assert PACKINGS[name].scheme.rpartition(".")[2] == name
    assert PACKINGS[name].content


def claim(tensor, context):
    """Signs as bytes beside one magnitude."""
    base = tensor.name.removesuffix("signs")
    if base == tensor.name:
        return None
    return Claim(f"{base}weight", (tensor, *context.find(f"{base}magnitude")))


def layout(claim, context):
    if len(claim.pieces) == 1:
        raise PackingError(f"{claim.name}: no magnitude")
    return Layout(claim.pieces[0].shape, "1 bit", decode)


def decode(pieces, rows, cols):
    signs, magnitude = pieces
    return (2 * signs.values(rows, cols) - 1) * magnitude.values()


@pytest.fixture
def made_up(monkeypatch):
    """A packing that the package does not know: a module and a record."""
    module = ModuleType("made_up_scheme")
    module.claim, module.layout = claim, layout
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PACKINGS, "signs", Packing(module.__name__, "signs", ()))


def test_a_new_packing_is_read(made_up, tmp_path, rng):
    signs = rng.integers(0, 2, (6, 40), np.uint8)
    arrays = {
        "model.layers.0.mlp.up_proj.signs": (signs, "U8"),
        "model.layers.0.mlp.up_proj.magnitude": (np.array([0.5], np.float32), "F32"),
        "model.layers.1.mlp.up_proj.signs": (signs, "U8"),
    }
    path = write_safetensors(tmp_path / "model.safetensors", arrays)
    with open_checkpoint(model_files(path)) as checkpoint:
        good, bad = checkpoint.weights()
        assert good.name == "model.layers.0.mlp.up_proj.weight"
        assert good.role.block_type == "up_proj"
        assert good.parameter.packing == "signs"
        assert good.parameter.stored_as == "signs 1 bit"
        assert len(good.parameter.pieces) == 2
        assert good.has_spectrum
        np.testing.assert_array_equal(whole(good), signs - 0.5)
    assert bad.problem == "model.layers.1.mlp.up_proj.weight: no magnitude"


def test_the_documentation_lists_a_new_packing(made_up):
    assert "| `signs` | signs |" in TABLES["PACKINGS"]()
