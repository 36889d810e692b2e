"""HQQ's own qmodel.pt: the same weights as in safetensors, with settings as Python objects."""

import make_packings
import numpy as np
import pytest
import torch
from torch_files import LAYOUTS, save
from weightfiles import model_files, whole

from mlx_probe.checkpoint import open_checkpoint

CASES = {name: case for name, case in make_packings.fixtures().items() if name.startswith("hqq")}
SCALARS = ("nbits", "axis", "group_size")
FLAGS = ("view_as_float", "quant_scale", "quant_zero", "offload_meta", "channel_wise")


def state(tensors):
    """What HQQLinear.state_dict has without the encoding for safetensors."""
    decoded = {}
    for name, (array, dtype) in tensors.items():
        key = name.removeprefix("m.")
        if key == "shape":
            decoded[key] = torch.Size(array.tolist())
        elif key == "packing":
            decoded[key] = array.tobytes().decode()
        elif key in SCALARS or key in FLAGS:
            decoded[key] = bool(array) if key in FLAGS else int(array)
        elif key in ("W_q", "scale", "zero"):
            view = {"F16": torch.float16, "I32": torch.int32}.get(dtype, torch.uint8)
            decoded[key] = torch.from_numpy(array.copy()).view(view)
    return decoded | {"compute_dtype": torch.float16, "unpack_view_dtype": torch.uint8}


def nested(decoded):
    """As hqq before 0.2 saved it."""
    return {
        "W_q": decoded.pop("W_q"),
        "bias": None,
        "meta": decoded,
    }


def opened(path):
    return open_checkpoint(model_files(path)).weights()


@pytest.mark.parametrize(
    "form", [state, lambda tensors: nested(state(tensors))], ids=["now", "old"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_a_qmodel_has_the_same_values(tmp_path, name, layout, form):
    tensors, _, values = CASES[name]
    embedding = {"weight": torch.ones(4, 3)}
    layers = {"model.layers.0.mlp.up_proj": form(tensors), "model.embed_tokens": embedding}
    weights = {weight.name: weight for weight in opened(save(tmp_path / "q.pt", layers, layout))}
    assert set(weights) == {"model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"}
    weight = weights["model.layers.0.mlp.up_proj.weight"]
    assert (weight.problem, weight.parameter.packing) == (None, "hqq")
    np.testing.assert_array_equal(whole(weight), values)


WRONG = [
    ({"axis": None}, "HQQ's axis missing beside W_q"),
    ({"axis": "1"}, "HQQ's axis is '1', no number"),
    ({"shape": torch.Size([32, 40, 1])}, r"shape [32, 40, 1] and axis 1 are no matrix"),
    ({"packing": "5bit_u8"}, "HQQ's packing '5bit_u8' is not supported"),
    ({"quant_zero": True}, "HQQ's quant_zero of 1 is not supported"),
    ({"group_size": 24}, "elements are not groups of 24"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_settings_that_do_not_fit_are_refused(tmp_path, change, message):
    layer = state(CASES["hqq: hqq 4 bit axis 1"][0]) | change
    (weight,) = opened(save(tmp_path / "q.pt", {"m": layer}))
    assert message in weight.problem
