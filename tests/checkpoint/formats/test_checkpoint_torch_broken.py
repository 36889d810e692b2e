"""Archives and older files of torch that are damaged, cut or lie about their parts."""

import pickle
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import LAYOUTS, archived, content, random, refusal, save, tensor_pickle, tensors_of
from weightfiles import edited

from mlx_probe.checkpoint.formats import read_header
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError


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


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    saved = {"a": random(2, 3).T, "b": torch.nn.Parameter(random(2)), "c": {"d": [random(1)]}}
    path = tmp_path_factory.mktemp("fuzz") / "m.pt"
    return path, {layout: save(path, saved, layout).read_bytes() for layout in LAYOUTS}


@pytest.mark.slow
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
