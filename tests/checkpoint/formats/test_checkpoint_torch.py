"""torch.save's files: every byte is read as torch reads it, whatever holds it."""

import argparse
import collections
import json
import pathlib
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import LAYOUTS, Unknown, content, random, save, tensors_of

from mlx_probe.checkpoint.formats import read_header
from mlx_probe.checkpoint.formats.torch_names import TORCH_DTYPES
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.source.selection import select_files

READABLE = [name for name, (kind, _) in TORCH_DTYPES.items() if kind in DTYPES]


def expected(tensor):
    plain = tensor.detach().clone(memory_format=torch.contiguous_format)
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def views():
    base = random(6, 8)
    return {
        "base": base,
        "transposed": base.T,
        "rows": base[2:5],
        "columns": base[:, 3:6],
        "steps": base[::2, 1::3],
        "expanded": random(1, 4).expand(3, 4),
        "scalar": base[3, 3],
        "one_row": base[4:5].T,
        "empty": base[:0],
        "permuted": random(2, 3, 4).permute(2, 0, 1),
    }


def quantized():
    # By hand: to make one is deprecated.
    storage, scheme = torch.ones(4, dtype=torch.int8)._typed_storage(), torch.per_tensor_affine
    args = (storage, 0, (2, 2), (2, 1), (scheme, 0.1, 0), False, collections.OrderedDict())
    return Unknown(torch._utils._rebuild_qtensor, *args)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_dtype(tmp_path, layout):
    saved = {name: random(3, 5, dtype=name) for name in READABLE}
    infos = tensors_of(save(tmp_path / "m.pt", saved, layout))
    assert infos.keys() == saved.keys()
    for name, info in infos.items():
        assert (info.dtype, info.shape, info.problem) == (TORCH_DTYPES[name][0], (3, 5), None)
        assert content(info) == expected(saved[name])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_views(tmp_path, layout, protocol):
    saved = views()
    path = save(tmp_path / "m.pth", saved, layout, pickle_protocol=protocol)
    infos = tensors_of(path)
    loaded = torch.load(path, weights_only=protocol == 2)
    assert infos.keys() == saved.keys()
    for name, info in infos.items():
        assert info.shape == tuple(saved[name].shape)
        assert (info.strides is None) == saved[name].is_contiguous()
        assert content(info) == expected(saved[name]) == expected(loaded[name])


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_view(tmp_path_factory, data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    view = random(*shape)
    for axis in range(len(shape)):
        start = data.draw(st.integers(0, shape[axis] - 1))
        view = view.narrow(axis, start, data.draw(st.integers(0, shape[axis] - start)))
    view = view.permute(data.draw(st.permutations(range(len(shape)))))
    path = tmp_path_factory.getbasetemp() / "any.pt"
    [info] = tensors_of(save(path, {"w": view})).values()
    assert info.shape == tuple(view.shape)
    assert content(info) == expected(view)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_are_the_path_through_the_object(tmp_path, layout):
    weight = random(2, 2)
    moment = random(2)
    model = collections.OrderedDict({"layers.0.weight": weight, "tied": weight})
    model._metadata = {"": {"version": 1}}
    saved = {
        "state_dict": model,
        "again": model,
        "parameter": torch.nn.Parameter(random(3)),
        "optimizer": {"state": {0: {"step": 7, "exp_avg": moment}}, "param_groups": [{"lr": 1.0}]},
        "list": [random(1), (random(2), None)],
        "args": argparse.Namespace(ema=random(4), path=pathlib.PurePosixPath("x")),
        "rest": (1 << 70, b"bytes", {1, 2}, 1j, torch.float16, torch.Size([2]), np.float64(1)),
        "default": collections.defaultdict(list, {"w": random(5)}),
    }
    saved["itself"] = saved
    infos = tensors_of(save(tmp_path / "m.bin", saved, layout))
    wanted = {
        "state_dict.layers.0.weight": weight,
        "state_dict.tied": weight,
        "parameter": saved["parameter"],
        "optimizer.state.0.exp_avg": moment,
        "list.0": saved["list"][0],
        "list.1.0": saved["list"][1][0],
        "args.ema": saved["args"].ema,
        "default.w": saved["default"]["w"],
    }
    assert {name: content(info) for name, info in infos.items()} == {
        name: expected(tensor) for name, tensor in wanted.items()
    }
    tied = infos["state_dict.tied"], infos["state_dict.layers.0.weight"]
    assert tied[0].start == tied[1].start


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attributes_of_tensors(tmp_path, layout):
    tensor = random(2)
    tensor.scale = random(3)
    infos = tensors_of(save(tmp_path / "m.pt", {"w": tensor}, layout))
    assert content(infos["w"]) == expected(tensor)
    assert content(infos["w.scale"]) == expected(tensor.scale)


@pytest.mark.parametrize(
    ("obj", "name"), [(torch.ones(2), "tensor"), ([torch.ones(2)], "0"), ({"": torch.ones(2)}, "")]
)
def test_names_without_keys(tmp_path, obj, name):
    assert list(tensors_of(save(tmp_path / "m.pt", obj))) == [name]


@pytest.mark.parametrize(
    ("tensor", "shape", "problem"),
    [
        (torch.ones(2, dtype=torch.complex64), (2,), "dtype complex64"),
        (torch.ones(2, dtype=torch.complex64).conj(), (2,), "conjugated"),
        (torch.empty(2, 3, device="meta"), (2, 3), "meta tensor"),
        (torch.eye(3).to_sparse(), (3, 3), "sparse"),
        (quantized(), (2, 2), "quantized"),
        (torch.ones(2).to(torch.float8_e4m3fnuz), (2,), "dtype F8_E4M3FNUZ"),
        (torch.ones(1).expand(5000, 5000), (5000, 5000), "repeats"),
        (np.ones(3), (), "numpy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_keeps_its_row(tmp_path, tensor, shape, problem):
    infos = tensors_of(save(tmp_path / "m.pt", {"w": tensor, "x": torch.ones(1)}))
    assert infos["x"].problem is None
    assert infos["w"].shape == shape
    assert problem in infos["w"].problem


def test_csr_keeps_its_row(tmp_path):
    layout = Unknown(torch.serialization._get_layout, "torch.sparse_csr")
    data = (torch.zeros(3), torch.zeros(2), torch.ones(2), torch.Size([2, 4]))
    sparse = Unknown(torch._utils._rebuild_sparse_tensor, layout, data)
    assert tensors_of(save(tmp_path / "m.pt", {"w": sparse}))["w"].shape == (2, 4)


def test_old_python_pickles(tmp_path):
    # Python 2: text as bytes, an OrderedDict built from a list of pairs, a view of a storage.
    storage = b"(U\7storagectorch\nFloatStorage\nU\1kU\3cpuK\10(U\1vK\2K\4ttQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\1K\2\x85K\1\x85tR"
    obj = b"\x80\2ccollections\nOrderedDict\n](](U\1w" + tensor + b"ee\x85R."
    head = b"".join(
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    path = tmp_path / "m.pt"
    elements = np.arange(8, dtype="<f4")
    keys = pickle.dumps(["k"], 2)
    path.write_bytes(head + obj + keys + (8).to_bytes(8, "little") + elements.tobytes())
    assert content(tensors_of(path)["w"]) == elements[3:5].tobytes()


def test_sharded_model(tmp_path):
    shards = {f"pytorch_model-{n}.bin": {f"layers.{n}.w": random(2, n)} for n in (1, 2)}
    for name, saved in shards.items():
        save(tmp_path / name, saved)
    index = {"weight_map": {next(iter(saved)): name for name, saved in shards.items()}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    selection = select_files({path.name: 1 for path in tmp_path.iterdir()}, "M")
    files = selection.resolve(tmp_path, "M", "local", tmp_path)
    names = {tensor.name for path in files.weights for tensor in read_header(path).tensors}
    assert names == index["weight_map"].keys()
