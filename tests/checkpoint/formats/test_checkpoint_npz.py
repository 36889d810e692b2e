"""NPZ files of numpy and MLX: every array is read as its library reads it, bombs are refused."""

import io
import tracemalloc
import zipfile
import zlib

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from weightfiles import edited

from mlx_probe.checkpoint.formats import read_header
from mlx_probe.checkpoint.formats import zip_directory as archives
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError

NUMPY = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
MLX = [*DTYPES.keys() - {"F64", "F8_E4M3", "F8_E5M2"}]
MLX_NAMES = {
    **{"F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool_"},
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16)},
    **{
        f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (32, 64)
    },
}
SAVES = {"stored": np.savez, "deflated": np.savez_compressed}
MEMORY = 16 << 20


def tensors_of(path):
    return {tensor.name: tensor for tensor in read_header(path).tensors}


def words(info):
    """An array's elements by nothing but its description."""
    raw = info.shard.read_bytes()[info.start : info.stop]
    dtype = DTYPES[info.dtype].storage
    if info.inflated is not None:
        raw = zlib.decompress(raw, -15)
        assert len(raw) == info.inflated
        raw = raw[len(raw) - info.numel * dtype.itemsize :]
    flat = np.frombuffer(raw, dtype)
    if info.strides is None:
        return flat.reshape(info.shape)
    steps = [step * dtype.itemsize for step in info.strides]
    return np.lib.stride_tricks.as_strided(flat, info.shape, steps)


def same(info, array):
    return info.problem is None and words(info).tobytes() == array.tobytes()


@pytest.mark.parametrize("how", SAVES)
def test_numpy_reads_the_same(tmp_path, rng, how):
    saved = {f"layers.{t.strip('?')}.w": rng.integers(0, 2, (3, 4)).astype(t) for t in NUMPY}
    saved |= {
        "fortran": np.asfortranarray(rng.random((2, 3, 4))),
        "column": np.asfortranarray(rng.random((5, 1))),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 7), order="F"),
        "vector": rng.random(9)[::2],
        "größe": np.ones(2),
    }
    SAVES[how](tmp_path / "w.npz", **saved)
    infos = tensors_of(tmp_path / "w.npz")
    assert infos.keys() == saved.keys()
    for name, info in infos.items():
        assert info.shape == saved[name].shape
        assert (info.inflated is not None) == (how == "deflated")
        assert (info.strides is not None) == (name == "fortran")
        assert same(info, saved[name])


@pytest.mark.parametrize("save", [mx.savez, mx.savez_compressed])
def test_mlx_reads_the_same(tmp_path, rng, save):
    with mx.stream(mx.cpu):
        plain = mx.array(rng.integers(0, 2, (3, 5)))
        saved = {kind: plain.astype(getattr(mx, name)) for kind, name in MLX_NAMES.items()}
        save(str(tmp_path / "w.npz"), **saved, transposed=plain.T, scalar=mx.array(2.5))
        loaded = mx.load(str(tmp_path / "w.npz"))
        assert sorted(MLX_NAMES) == sorted(MLX)
        infos = tensors_of(tmp_path / "w.npz")
        assert infos.keys() == loaded.keys()
        for kind in MLX_NAMES:
            bits = mx.view(loaded[kind], mx.uint16) if kind == "BF16" else loaded[kind]
            assert infos[kind].dtype == kind
            assert same(infos[kind], np.array(bits))
        assert same(infos["transposed"], np.array(plain).T)
        assert same(infos["scalar"], np.float32(2.5))


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from(["<f4", "<i2", "|u1", "<f8"]),
        arrays.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
        fill=st.nothing(),
    ),
    st.booleans(),
    st.sampled_from(list(SAVES)),
)
def test_any_array(tmp_path_factory, array, fortran, how):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    array = np.asfortranarray(array) if fortran and array.ndim else array
    SAVES[how](path, w=array)
    assert same(tensors_of(path)["w"], array)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.array([{}, None], object), "is not read"),
        (np.ones(2, "<c8"), "dtype <c8"),
        (np.ones(2, ">f4"), "big-endian dtype >f4"),
        (np.zeros(2, [("a", "<f4"), ("b", "<i2")]), "structured"),
        (np.array(["ab"]), "dtype <U2"),
        (np.array([1], "<M8[s]"), "dtype <M8"),
        (np.zeros(2, "<f4,(3,)<i8"), "structured"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("how", SAVES)
def test_what_cannot_be_read_keeps_its_row(tmp_path, array, problem, how):
    SAVES[how](tmp_path / "w.npz", w=array, x=np.ones(1))
    infos = tensors_of(tmp_path / "w.npz")
    assert problem in infos["w"].problem
    assert infos["w"].shape == array.shape
    assert infos["x"].problem is None


def npy(descr="<f4", order=False, shape=(2,), data=bytes(8), version=1, text=None):
    text = text or repr({"descr": descr, "fortran_order": order, "shape": shape})
    text = text.encode("latin-1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npz(method=zipfile.ZIP_STORED, **members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        for name, value in members.items():
            file.writestr(name.replace("_npy", ".npy"), value)
    return target.getvalue()


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npy_versions(tmp_path, version, method):
    (tmp_path / "w.npz").write_bytes(npz(method, w_npy=npy(version=version), **{"folder/": b""}))
    assert same(tensors_of(tmp_path / "w.npz")["w"], np.zeros(2, "<f4"))


def test_long_and_old_headers(tmp_path):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }"
    members = {"old.npy": npy(text=text), "long.npy": npy(text=text + " " * 9000)}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        (tmp_path / "w.npz").write_bytes(npz(method, **members))
        assert all(
            same(info, np.zeros(2, "<f4")) for info in tensors_of(tmp_path / "w.npz").values()
        )


@pytest.mark.parametrize(
    ("members", "problem"),
    [({"readme.txt": b"text"}, "not an array"), ({"w.npy": b""}, "not an array")],
)
def test_other_members_keep_their_rows(tmp_path, members, problem):
    (tmp_path / "w.npz").write_bytes(npz(**members))
    [info] = tensors_of(tmp_path / "w.npz").values()
    assert problem in info.problem


def test_other_compressions_keep_their_rows(tmp_path):
    (tmp_path / "w.npz").write_bytes(npz(zipfile.ZIP_BZIP2, w_npy=npy()))
    assert "method 12" in tensors_of(tmp_path / "w.npz")["w"].problem


SOUND = npz(a_npy=npy(), b_npy=npy())
FIRST, SECOND = SOUND.index(b"PK\1\2"), SOUND.rindex(b"PK\1\2")


def patched(position, value):
    return SOUND[:position] + value + SOUND[position + len(value) :]


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        # Bombs: sizes that deflate cannot give, members that share their bytes, too many.
        (
            npz(zipfile.ZIP_DEFLATED, w_npy=npy(shape=(1 << 20,), data=bytes(4 << 20))).replace(
                (len(npy(shape=(1 << 20,), data=b"")) + (4 << 20)).to_bytes(4, "little"),
                (1 << 31).to_bytes(4, "little"),
            ),
            "cannot unpack to 2147483648",
        ),
        (patched(SECOND + 42, bytes(4)), "overlaps"),
        (npz(zipfile.ZIP_DEFLATED, w_npy=npy(shape=(1 << 40,))), "8 bytes stored"),
        (npz(w_npy=npy(shape=(1 << 40,))), "8 bytes stored"),
        (npz(w_npy=npy(shape=(1 << 62, 4))), "too large"),
        (npz(w_npy=npy(shape=(1,) * 40)), "too large"),
        (npz(w_npy=npy(data=bytes(9))), "9 bytes stored"),
        (npz(w_npy=npy(shape=(-2,))), "no valid descr"),
        (npz(w_npy=npy(shape=(True,))), "no valid descr"),
        (npz(w_npy=npy(shape=[2])), "no valid descr"),
        (npz(w_npy=npy(order=0)), "no valid descr"),
        (npz(w_npy=npy(text="__import__('os').getcwd()")), "no valid descr"),
        (npz(w_npy=npy(text="(" * 5000)), "no valid descr"),
        (npz(w_npy=npy(text="-" * 9000 + "1")), "no valid descr"),
        (npz(w_npy=npy(text="[" * 150 + "]" * 150)), "no valid descr"),
        (npz(w_npy=npy(text="{[]: 1}")), "no valid descr"),
        (npz(w_npy=npy(text="1if 2else 3")), "no valid descr"),
        (npz(w_npy=npy(text="'\\d'")), "no valid descr"),
        (npz(w_npy=npy(text="9" * 9000)), "no valid descr"),
        (npz(w_npy=npy(text=" " * 20_000)), "a header of 20000 bytes"),
        (npz(w_npy=npy(version=2, text=" " * 20_000)), "a header of 20000 bytes"),
        (npz(w_npy=npy(version=4)), "version"),
        (npz(w_npy=npy()[:30]), "truncated inside its header"),
        (npz(w=npy(), w_npy=npy()), "the same name"),
        (SOUND[:-30], "no directory"),
        (b"PK\5\6", "no directory"),
        (b"", "no directory"),
    ],
)
def test_broken_files(tmp_path, data, fact):
    path = tmp_path / "w.npz"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as e:
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert fact in e.value.fact
    assert str(path) in e.value.fact


def test_archives_beyond_four_gigabytes(tmp_path):
    # The directory of a small file as one of a large file has to be: all numbers in 64 bits.
    entry = SOUND[FIRST:SECOND]
    sizes = b"".join(entry[at : at + 4] + bytes(4) for at in (24, 20, 42))
    entry = entry[:20] + b"\xff" * 8 + entry[28:30] + b"\x20\0" + entry[32:42] + b"\xff" * 4
    entry += SOUND[FIRST + 46 : SECOND] + b"\x09\x09\0\0" + b"\1\0\x18\0" + sizes
    numbers = (1, 1, len(entry), FIRST)
    end = b"PK\6\6" + (44).to_bytes(8, "little") + bytes(12)
    end += b"".join(number.to_bytes(8, "little") for number in numbers)
    end += b"PK\6\7" + bytes(4) + (FIRST + len(entry)).to_bytes(8, "little") + b"\1\0\0\0"
    end += b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    (tmp_path / "w.npz").write_bytes(SOUND[:FIRST] + entry + end)
    assert same(tensors_of(tmp_path / "w.npz")["a"], np.zeros(2, "<f4"))


def test_too_many_members(tmp_path, monkeypatch):
    (tmp_path / "w.npz").write_bytes(SOUND)
    assert len(tensors_of(tmp_path / "w.npz")) == 2
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(CheckpointError, match="directory of 2 members"):
        read_header(tmp_path / "w.npz")


def test_only_the_beginning_is_inflated(tmp_path):
    zeros = npy(shape=(1 << 24,), data=bytes(4 << 24))
    (tmp_path / "w.npz").write_bytes(npz(zipfile.ZIP_DEFLATED, w_npy=zeros))
    del zeros
    tracemalloc.start()
    try:
        info = tensors_of(tmp_path / "w.npz")["w"]
        assert tracemalloc.get_traced_memory()[1] < MEMORY < info.inflated
    finally:
        tracemalloc.stop()


ORIGINALS = [SOUND, npz(zipfile.ZIP_DEFLATED, a_npy=npy(order=True, shape=(1, 2)), b_npy=npy())]


@pytest.mark.slow
@settings(max_examples=500, deadline=1000)
@given(
    original=st.sampled_from(ORIGINALS),
    edits=st.lists(st.tuples(st.integers(0, 4096), st.binary(min_size=1, max_size=9)), max_size=4),
    cut=st.none() | st.integers(0, 4096),
)
def test_damaged_files_are_understood_or_refused(tmp_path_factory, original, edits, cut):
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    data = edited(original, edits, cut)
    path.write_bytes(data)
    try:
        header = read_header(path)
    except CheckpointError as error:
        assert str(path) in error.fact  # noqa: PT017 - a valid file is as good
    else:
        for info in header.tensors:
            assert 0 <= info.start <= info.stop <= len(data)
            if info.problem is None and info.inflated is None:
                assert info.nbytes == info.numel * DTYPES[info.dtype].itemsize


@settings(max_examples=300, deadline=1000)
@given(text=st.text("{}[]()'\":, -+.0129LTFabdefhnoprstu_<|\\\n", max_size=60))
def test_any_header_is_understood_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "header.npz"
    path.write_bytes(npz(w_npy=npy(text=f"{{'descr': '<f4', {text}")))
    with pytest.raises(CheckpointError):
        read_header(path)
