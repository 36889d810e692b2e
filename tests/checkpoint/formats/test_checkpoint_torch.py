"""torch.save's files: every byte is read as torch reads it, and no code in them is run."""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from weightfiles import edited

from mlx_probe.checkpoint.formats import pickle_stream as restricted
from mlx_probe.checkpoint.formats import read_header, torch_objects
from mlx_probe.checkpoint.formats.torch_names import ALLOWED, TORCH_DTYPES
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError
from mlx_probe.source.selection import select_files

LAYOUTS = {"zip": True, "legacy": False}
READABLE = [name for name, (kind, _) in TORCH_DTYPES.items() if kind in DTYPES]
MEMORY = 32 << 20


def save(path, obj, layout="zip", **options):
    torch.save(obj, path, _use_new_zipfile_serialization=LAYOUTS[layout], **options)
    return path


def tensors_of(path):
    return {tensor.name: tensor for tensor in read_header(path).tensors}


def content(info):
    """A tensor's elements as bytes in C order, by nothing but its description."""
    raw = info.shard.read_bytes()[info.start : info.stop]
    if info.strides is None or not info.numel:
        return raw
    words = np.frombuffer(raw, f"u{DTYPES[info.dtype].itemsize}")
    steps = [step * words.itemsize for step in info.strides]
    return as_strided(words, info.shape, steps).tobytes()


def expected(tensor):
    plain = tensor.detach().clone(memory_format=torch.contiguous_format)
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def random(*shape, dtype="float32"):
    generator = torch.Generator().manual_seed(len(shape))
    kind = getattr(torch, dtype)
    size = torch.empty((), dtype=kind).element_size()
    data = torch.randint(0, 256, (*shape, size), generator=generator, dtype=torch.uint8)
    return (data % 2).bool()[..., 0] if dtype == "bool" else data.view(kind)[..., 0].clone()


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


class Unknown:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch {}",)),
        (eval, ("open('{}', 'w')",)),
        (exec, ("open('{}', 'w')",)),
        (open, ("{}", "w")),
        (torch.load, ("{}",)),
        (torch.storage._load_from_bytes, (b"",)),
        (getattr, ({}, "clear")),
        (torch.nn.Linear, (1, 1)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_code_is_refused_and_not_run(tmp_path, layout, function, args):
    victim = tmp_path / "victim"
    args = [arg.format(victim) if isinstance(arg, str) else arg for arg in args]
    path = save(tmp_path / "m.bin", {"w": torch.ones(2), "x": Unknown(function, *args)}, layout)
    with pytest.raises(CheckpointError, match=r"nothing of it was run") as e:
        read_header(path)
    assert function.__name__ in e.value.fact
    assert "safetensors" in e.value.remedy
    assert not victim.exists()


def test_nothing_is_allowed_that_could_run_code():
    # The list is of data; what it names is never looked up, but a reader need not know that.
    modules = {name.rpartition(".")[0] for name in ALLOWED}
    assert modules.isdisjoint({"os", "posix", "nt", "sys", "subprocess", "shutil", "importlib"})
    risky = {"eval", "exec", "open", "getattr", "setattr", "compile", "__import__", "input"}
    assert not {name for name in ALLOWED if name.rpartition(".")[2] in risky}


def archived(pickled, *storages, method=zipfile.ZIP_STORED, **members):
    members = {"data.pkl": pickled, **members}
    members |= {f"data/{key}": value for key, value in enumerate(storages)}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        for name, value in members.items():
            file.writestr(f"m/{name}", value)
    return target.getvalue()


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as e:
        read_header(path)
    assert str(path) in e.value.fact
    return e.value.fact


def tensor_pickle(offset=0, size=(2,), strides=(1,), numel=2, kind="torch\nFloatStorage"):
    def numbers(values):
        return b"(" + b"".join(b"J" + v.to_bytes(4, "little", signed=True) for v in values) + b"t"

    storage = b"(X\7\0\0\0storagec" + kind.encode() + b"\nX\1\0\0\0" + b"0X\3\0\0\0cpu"
    storage += numbers([numel])[1:-1] + b"tQ"
    view = numbers([offset])[1:-1] + numbers(size) + numbers(strides) + b"\x89N"
    return b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tRs."


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"offset": 1}, "ends at byte 12 of a storage of 8"),
        ({"size": (3,)}, "ends at byte 12"),
        ({"strides": (2,)}, "ends at byte 12"),
        ({"numel": 3}, "has 8 bytes, the pickle says 12"),
        ({"offset": -1}, "does not know"),
        ({"size": (-1,)}, "does not know"),
        ({"strides": (-1,)}, "does not know"),
        ({"strides": (1, 1)}, "does not know"),
        ({"numel": -2}, "does not know"),
        ({"kind": "torch\nSize"}, "does not know"),
        ({"size": (2,) * 40, "strides": (0,) * 40}, "too large"),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, changes, fact):
    assert fact in refusal(tmp_path / "m.pt", archived(tensor_pickle(**changes), bytes(8)))
    # The same without the change is sound.
    (tmp_path / "m.pt").write_bytes(archived(tensor_pickle(), bytes(8), byteorder=b"little"))
    assert tensors_of(tmp_path / "m.pt")["w"].shape == (2,)


SOUND = archived(tensor_pickle(), bytes(8))
DIRECTORY = SOUND.index(b"PK\1\2")
LAST = SOUND.rindex(b"PK\1\2")


def patched(position, value, data=SOUND):
    return data[:position] + value + data[position + len(value) :]


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (archived(tensor_pickle()), "'m/data/0' is missing"),
        (archived(tensor_pickle(), bytes(8), byteorder=b"big"), "byte order"),
        (archived(tensor_pickle(), bytes(8), **{"constants.pkl": b""}), "TorchScript"),
        (archived(tensor_pickle(), bytes(8), method=zipfile.ZIP_DEFLATED), "is compressed"),
        (SOUND.replace(b"data.pkl", b"data.pkx"), "no single data.pkl"),
        (SOUND[:-4], "no directory at its end"),
        (SOUND[40:], "not"),
        (patched(LAST + 42, bytes(4)), "overlaps"),
        (patched(DIRECTORY + 8, b"\1"), "encrypted"),
        (patched(DIRECTORY + 20, b"\xff\xff\xff\x7f" * 2), "overlaps"),
        (patched(DIRECTORY + 24, b"\xff\xff\xff\x7f"), "cannot unpack"),
        (patched(DIRECTORY + 24, b"\xff\xff\xff\xff"), "zip64"),
        (patched(DIRECTORY + 28, b"\xff\xff"), "truncated"),
        (patched(len(SOUND) - 14, b"\xff\x7f" * 2), "members"),
        (patched(len(SOUND) - 14, b"\xff\x7f"), "several volumes"),
        (patched(len(SOUND) - 6, b"\xff" * 4), "beyond"),
        (patched(28, b"\xff\xff"), "overlaps"),
        (patched(0, b"PK\3\5"), "neither"),
        (patched(8, b"\x08"), "is not where the directory places it"),
        (b"", "neither a zip archive nor a pickle"),
        (b"lmgg" + bytes(400), "neither a zip archive nor a pickle"),
        (bytes(257) + b"ustar" + bytes(300), "tar layout"),
    ],
)
def test_broken_archives(tmp_path, data, fact):
    assert fact in refusal(tmp_path / "m.pt", data)


def test_members_of_one_name(tmp_path):
    twice = archived(tensor_pickle(), bytes(8), **{"data/1": bytes(8)})
    assert "two members are called" in refusal(
        tmp_path / "m.pt", twice.replace(b"m/data/1", b"m/data/0")
    )


def legacy(obj=b"", system=None, keys=("0",), storages=b"\2" + bytes(15)):
    head = (0x1950A86A20F9469CFC6C, 1001, system or {"little_endian": True})
    parts = [*(pickle.dumps(part, 2) for part in head), obj or tensor_pickle()]
    return b"".join([*parts, pickle.dumps(list(keys), 2), storages])


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (pickle.dumps({"w": 1}, 2), "did not write"),
        (legacy().replace(b"\xe9\x03", b"\xe8\x03"), "version 1001"),
        (legacy(system={"little_endian": False}), "big-endian"),
        (legacy(keys=()), "storage '0' is missing"),
        (legacy(keys=("1",)), "list of storages"),
        (legacy(keys=("0", "0")), "list of storages"),
        (legacy(storages=b"\3" + bytes(19)), "has 3 elements, the pickle says 2"),
        (legacy(storages=b"\2" + bytes(10)), "truncated"),
        (legacy()[:200], "truncated"),
    ],
)
def test_broken_legacy_files(tmp_path, data, fact):
    assert fact in refusal(tmp_path / "m.pt", data)
    (tmp_path / "m.pt").write_bytes(legacy())
    assert tensors_of(tmp_path / "m.pt")["w"].nbytes == 8


@pytest.mark.parametrize(
    ("pickled", "fact"),
    [
        (b"\x80\x02" + b"Nr\xff\xff\xff\xff.", None),
        (b"\x80\x02X\xff\xff\xff\xff", "truncated"),
        (b"\x80\x04\x8d" + b"\xff" * 8, "truncated"),
        (b"\x80\x02\x8b\0\0\0\1", "integer of 16777216 bytes"),
        (b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", "too long"),
        (b"\x80\x02)" + b"\x85" * 50_000 + b".", "too long"),
        (b"\x80\x02)" + b"2\x86" * 1_000 + b".", None),
        (b"\x80\x02]q\0h\0a.", None),
        (b"\x80\x02}q\0)" + b"\x85" * 50_000 + b"]s.", "not plain"),
        (b"\x80\x02c" + b"x" * 5_000, "without an end"),
        (b"\x80\x02(.", "no pickle does"),
        (b"\x80\x02h\0.", "no pickle does"),
        (b"\x80\x02I1\n.", "no pickle does"),
        (b"\x80\x02NNR.", "not a function"),
        (b"\x80\x02NNb.", "that has none"),
        (b"\x80\x02NNa.", "not a list"),
        (b"\x80\x02NNNs.", "has none"),
        (b"\x80\x02N\x86.", "takes more"),
        (b"\x80\x02NQ.", "by no tuple"),
        (b"\x80\x04NN\x93.", "not text"),
        (b"\x80\x02X\1\0\0\0\xff.", "no pickle does"),
        (b"\x80\x02cposix\nsystem\n.", "'posix.system'"),
        (b"\x80\x02c__builtin__\neval\n.", "'builtins.eval'"),
        (b"\x80\x04\x8c\2os\x8c\6system\x93.", "'os.system'"),
        (b"\x80\x02)" + b"20" * 60_000 + b".", "more than 100000 instructions"),
    ],
    ids=range(25),
)
def test_hostile_pickles(tmp_path, monkeypatch, pickled, fact):
    if "instructions" in (fact or ""):
        monkeypatch.setattr(restricted, "MAX_INSTRUCTIONS", 100_000)
    path = tmp_path / "m.pt"
    data = archived(pickled)
    tracemalloc.start()
    try:
        if fact is None:
            path.write_bytes(data)
            assert not read_header(path).tensors
        else:
            assert fact in refusal(path, data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_TENSORS", 2), ("MAX_NAMES", 2), ("MAX_NAME", 0)]
)
def test_names_and_tensors_are_bounded(tmp_path, monkeypatch, limit, value):
    path = save(tmp_path / "m.pt", dict.fromkeys("abc", torch.ones(1)))
    assert len(tensors_of(path)) == 3
    monkeypatch.setattr(torch_objects, limit, value)
    with pytest.raises(CheckpointError):
        read_header(path)


def test_one_name_for_two_tensors(tmp_path):
    save(tmp_path / "m.pt", {"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"two tensors are called 'a\.b'"):
        read_header(tmp_path / "m.pt")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    saved = {"a": random(2, 3).T, "b": torch.nn.Parameter(random(2)), "c": {"d": [random(1)]}}
    path = tmp_path_factory.mktemp("fuzz") / "m.pt"
    return path, {layout: save(path, saved, layout).read_bytes() for layout in LAYOUTS}


INSTRUCTIONS = st.sampled_from([*restricted._INSTRUCTIONS, pickle.STOP, b"\0", b"\1", b"w", b"\n"])


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=300, deadline=1000)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 1 << 12), st.binary(min_size=1, max_size=9)), max_size=4
    ),
    cut=st.none() | st.integers(0, 1 << 12),
)
def test_damaged_files_are_understood_or_refused(originals, layout, edits, cut):
    path, original = originals
    data = edited(original[layout], edits, cut)
    path.write_bytes(data)
    try:
        header = read_header(path)
    except CheckpointError as error:
        assert str(path) in error.fact  # noqa: PT017 - a valid file is as good
    else:
        for info in header.tensors:
            assert 0 <= info.start <= info.stop <= len(data)
            assert info.problem or len(content(info)) == info.numel * DTYPES[info.dtype].itemsize


@settings(max_examples=500, deadline=1000)
@given(st.lists(INSTRUCTIONS | st.sampled_from([tensor_pickle()[2:-1]]), max_size=40))
def test_any_pickle_is_understood_or_refused(tmp_path_factory, instructions):
    path = tmp_path_factory.getbasetemp() / "pickled.pt"
    path.write_bytes(archived(b"\x80\x02" + b"".join(instructions) + b".", bytes(8)))
    try:
        read_header(path)
    except CheckpointError as error:
        assert str(path) in error.fact  # noqa: PT017 - a valid file is as good
