"""Facts of the machine that runs the tests, as far as a test can set them up."""

import os
import stat
import threading
from importlib import metadata
from pathlib import Path

import pytest

from mlx_probe.core.errors import BackendError, ConfigError
from mlx_probe.doctor import disk as disk_module
from mlx_probe.doctor import gathering, programs
from mlx_probe.doctor import packages as packages_module
from mlx_probe.doctor import tools as tools_module
from mlx_probe.doctor.disk import measure_disk
from mlx_probe.doctor.facts import Disk
from mlx_probe.doctor.packages import fits, installed_packages, requirements
from mlx_probe.doctor.tools import find_tools


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No program on the path, and an empty home; gives the folder of programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, path in {"HOME": tmp_path, "PATH": folder}.items():
        monkeypatch.setenv(name, str(path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    return folder


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def tools_here(packages=()):
    return {tool.name: tool for tool in find_tools(dict(packages))}


def test_installed_packages_are_those_that_are_imported():
    packages = installed_packages()
    assert list(packages) == sorted(packages)
    for name in ("numpy", "rich", "huggingface-hub", "mlx-probe"):
        assert packages[name] == metadata.version(name)


def test_what_is_asked_for_is_there_where_the_tests_run():
    asked = requirements(installed_packages())
    assert {"numpy", "click", "mlx"} <= {requirement.name for requirement in asked}
    assert {requirement.by for requirement in asked} > {"mlx-probe"}
    assert [requirement for requirement in asked if not requirement.fits] == []


def test_lacking_and_old_packages_are_found_at_any_depth(monkeypatch):
    asks = {
        "mlx-probe": ["A[x]>=2", "b", 'c; python_version < "3"', 'd; extra == "dev"'],
        "a": ['deep==1.5; extra == "x"', 'never; extra == "y"'],
        "b": ["a", "mlx-probe"],
    }
    monkeypatch.setattr(packages_module.metadata, "requires", asks.get)
    outcome = {
        (r.by, r.name): (r.asked, r.installed, r.fits)
        for r in requirements({"mlx-probe": "1", "a": "1.9", "b": "0.1", "deep": "1.4"})
    }
    assert outcome == {
        ("mlx-probe", "a"): (">=2", "1.9", False),
        ("mlx-probe", "b"): ("", "0.1", True),
        ("a", "deep"): ("==1.5", "1.4", False),
        ("b", "a"): ("", "1.9", True),
        ("b", "mlx-probe"): ("", "1", True),
    }
    assert requirements({})[0].installed is None


def test_without_metadata_nothing_is_known_to_be_asked_for(monkeypatch):
    monkeypatch.setattr(packages_module, "DISTRIBUTION", "no-such-distribution")
    assert requirements({}) == ()


@pytest.mark.parametrize(
    ("version", "asked", "fit"),
    [("2.0", ">=1.26", True), ("1.9", ">=2", False), ("2.0rc1", ">=1", True), ("odd", ">=1", True)],
)
def test_versions_fit(version, asked, fit):
    assert fits(version, asked) is fit


def test_a_disk_is_measured_and_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_module, "MOST", 2 * disk_module.BLOCK)
    folder = tmp_path / "new" / "cache"
    seen = measure_disk(Disk("things", str(folder), "VARIABLE"))
    assert seen.problem == ""
    assert min(seen.free, seen.write_rate, seen.read_rate) > 0
    assert list(folder.iterdir()) == []


def test_a_failing_disk_is_left_as_it_was(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(disk_module.os, "fsync", full)
    seen = measure_disk(Disk("things", str(tmp_path), "VARIABLE"))
    assert seen.problem == "cannot be written: No space left on device"
    assert (seen.write_rate, seen.read_rate) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_nearly_full_disk_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_module, "LEAST_FREE", 1 << 62)
    seen = measure_disk(Disk("things", str(tmp_path), "VARIABLE"))
    assert "too little" in seen.problem
    assert seen.free > 0


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    seen = measure_disk(Disk("things", str(tmp_path / "file" / "below"), "VARIABLE"))
    assert (seen.free, seen.problem) == (None, "cannot be written: Not a directory")


def test_nothing_optional_is_there(bare):
    tools = tools_here()
    assert list(tools) == list(tools_module.TOOLS)
    applications = {name for name, tool in tools.items() if tool.found.startswith("/Applications")}
    assert applications == {
        name for name in ("Ollama", "LM Studio") if (Path("/Applications") / f"{name}.app").exists()
    }
    assert not any(tool.problem or tool.detail for tool in tools.values())


def test_programs_print_their_version(bare, tmp_path):
    warned = 'echo "Warning: no server at 127.0.0.1:11434"; echo "client version is 0.5.1"'
    ollama = program(bare, "ollama", warned)
    llama = program(
        bare, "llama-cli", 'echo "version: 4567 (abc)\nbuilt with clang version 16.0.0" >&2'
    )
    (tmp_path / ".lmstudio" / "models").mkdir(parents=True)
    studio = program(bare, "lms", "exit 1")
    tools = tools_here()
    assert tools["Ollama"].found == f"{ollama} 0.5.1"
    assert tools["llama.cpp"].found == f"{llama} 4567"
    assert (tools["LM Studio"].found, tools["LM Studio"].problem) == (str(studio), "")
    assert tools["LM Studio"].detail == f"models in {tmp_path / '.lmstudio' / 'models'}"


def test_programs_that_fail_or_hang(bare, monkeypatch):
    monkeypatch.setattr(programs, "TIMEOUT", 0.3)
    program(bare, "ollama", "echo broken library; exit 127")
    program(bare, "llama-cli", "exec /bin/sleep 60")
    tools = tools_here()
    assert tools["Ollama"].problem == "fails: broken library"
    assert tools["llama.cpp"].problem == "no answer within 0.3 s"


def test_a_store_that_is_set_and_not_there(bare, monkeypatch, tmp_path):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nowhere"))
    assert "OLLAMA_MODELS is no folder" in tools_here()["Ollama"].problem
    (tmp_path / "nowhere").mkdir()
    assert tools_here()["Ollama"].detail == f"models in {tmp_path / 'nowhere'}"


def test_weightwatcher_needs_torch(bare, monkeypatch):
    monkeypatch.setattr(tools_module, "_TORCH", "print('{}')")
    assert "needs torch" in tools_here({"weightwatcher": "0.7.7"})["WeightWatcher"].problem
    both = tools_here({"weightwatcher": "0.7.7", "torch": "2.13.0"})
    assert both["WeightWatcher"].problem == ""


@pytest.mark.parametrize(
    ("script", "detail", "problem"),
    [
        ("print('a warning'); print('{\"cuda\": false, \"mps\": true}')", "mps", ""),
        ("print('{\"cuda\": false, \"mps\": false}'); print('bye')", "cpu only", ""),
        ("raise ImportError('no library')", "", "fails: ImportError: no library"),
        ("pass", "", "does not say which devices"),
    ],
)
def test_torch_names_its_devices(bare, monkeypatch, script, detail, problem):
    monkeypatch.setattr(tools_module, "_TORCH", script)
    torch = tools_here({"torch": "2.13.0"})["torch"]
    assert (torch.found, torch.detail) == ("2.13.0", detail)
    assert problem in torch.problem
    assert bool(problem) == bool(torch.problem)


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (BackendError("MLX cannot be imported", "Install it"), "MLX cannot be imported", ""),
        (RuntimeError("no driver"), "MLX does not start: RuntimeError: no driver", ""),
        (ConfigError("no such library", "Unset it"), "no such library", "Unset it"),
    ],
)
def test_mlx_that_does_not_start(monkeypatch, error, says, remedy):
    def fail():
        raise error

    monkeypatch.setattr(gathering, "mlx_status", fail)
    assert gathering._mlx() == (None, says, remedy)


def test_mlx_here():
    mlx, problem, _ = gathering._mlx()
    assert problem == ""
    assert mlx.version == metadata.version("mlx")
    assert mlx.device


def test_only_libraries_that_others_can_call_are_named(monkeypatch):
    def pool(path, prefix, api="openblas"):
        return {
            "user_api": "openmp" if api == "openmp" else "blas",
            "internal_api": api,
            "prefix": prefix,
            "filepath": path,
            "version": "0.3.21",
            "num_threads": 7,
        }

    pools = [
        pool("/lib/numpy.libs/libscipy_openblas64_.so", "libscipy_openblas"),
        pool("/lib/scipy.libs/libscipy_openblas.so", "libscipy_openblas"),
        pool("/usr/lib/libopenblas.so.0", "libopenblas"),
        pool("/usr/lib/libgomp.so.1", "libgomp", "openmp"),
    ]
    monkeypatch.setattr(gathering, "threadpool_info", lambda: pools)
    blas = gathering._blas(with_mlx=True)
    assert (blas.threads, blas.others) == (7, ("openblas 0.3.21",))
    assert min(blas.single_rate, blas.double_rate, blas.mlx_rate) > 0
    assert gathering._blas(with_mlx=False).mlx_rate is None


def test_a_hub_that_hangs_is_not_waited_for(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(gathering, "HUB_LONGEST", 0.1)
    monkeypatch.setattr(gathering, "hub_status", lambda timeout: released.wait())
    try:
        status = gathering._HubRequest().answer()
    finally:
        released.set()
    assert (status.status, status.problem) == (None, "no answer within 0.1 s")
