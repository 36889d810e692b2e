"""What pip makes of a checkout: a wheel that works, with a C compiler and without one."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT
from tinymodel import comparable

from mlx_probe.compute import native
from mlx_probe.core.version import __version__

pytestmark = pytest.mark.slow

NOT_SOURCE = {".git", ".venv", ".hypothesis", "build", "dist", "data", "mlx_probe.egg-info"}
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
IMPORT_ALL = """
import importlib, pkgutil, mlx_probe
print(mlx_probe.__file__)
for module in pkgutil.walk_packages(mlx_probe.__path__, "mlx_probe."):
    importlib.import_module(module.name)
    print(module.name)
"""
STATUSES = """
from mlx_probe.compute import native
for library in native.statuses():
    print(library.name, library.reason)
"""
# The compiler that setuptools calls.
COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
# Name the solver, and bound its error.
OF_THE_SOLVER = ["spectrum_method", "spectrum_error"]
KERNELS = "mlx_probe/compute/native/kernels"
LIBRARIES = {
    f"{KERNELS}/{name}{sysconfig.get_config_var('EXT_SUFFIX')}" for name in native.LIBRARIES
}


def not_source(folder, names):
    """What may lie about in a checkout."""
    here = NOT_SOURCE if Path(folder) == ROOT else set()
    return {
        name
        for name in names
        if name in here or name == "__pycache__" or name.endswith("_cache") or name.endswith(".so")
    }


def build(kind, folder, out, **variables):
    """The file that setuptools makes of a folder, and what it says meanwhile."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", str(out)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1], done.stdout + done.stderr


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source archive, and the folder that it unpacks to."""
    root = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, root / "checkout", symlinks=True, ignore=not_source)
    archive, _ = build("sdist", root / "checkout", root)
    with tarfile.open(archive) as tar:
        tar.extractall(root / "unpacked", filter="data")
    (folder,) = (root / "unpacked").iterdir()
    return archive, folder


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """The wheel, as this machine makes it."""
    _, folder = unpacked
    return build("wheel", folder, tmp_path_factory.mktemp("wheel"))[0]


@pytest.fixture(scope="module")
def bare_wheel(unpacked, tmp_path_factory):
    """The wheel of a machine that has no compiler, and what is said while it is made."""
    out = tmp_path_factory.mktemp("bare")
    (out / "nothing").mkdir()
    # In a copy: what the other build compiled is not there.
    folder = shutil.copytree(unpacked[1], out / "source", ignore=lambda *_: {"build"})
    return build("wheel", folder, out, PATH=str(out / "nothing"), CC="no-compiler")


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    return {name for name in names if ".dist-info/" not in name}


def source_files():
    """Every file of the package, those that are reached through links included."""
    package = ROOT / "mlx_probe"
    linked = [path for path in package.rglob("*") if path.is_symlink() and path.is_dir()]
    paths = [path for folder in (package, *linked) for path in folder.rglob("*")]
    wanted = (p for p in paths if p.is_file() and "__pycache__" not in p.parts)
    return {path.relative_to(ROOT).as_posix() for path in wanted if path.suffix != ".so"}


def test_the_source_archive_holds_the_package(unpacked):
    with tarfile.open(unpacked[0]) as tar:
        members = tar.getmembers()
    kept = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert source_files() <= kept
    assert {f"{KERNELS}/{name}.c" for name in native.LIBRARIES} <= kept


def test_a_wheel_holds_the_package_and_nothing_else(unpacked, wheel, tmp_path):
    compiled = LIBRARIES if shutil.which(COMPILER) else set()
    assert files_of(wheel) == source_files() | compiled
    # pip makes one of a checkout directly, without the archive. Compiling is the same, and slow.
    shutil.copytree(ROOT, tmp_path / "checkout", symlinks=True, ignore=not_source)
    direct, _ = build("wheel", tmp_path / "checkout", tmp_path, CC="no-compiler")
    assert files_of(direct) == source_files()


def test_without_a_compiler_the_wheel_is_made_with_one_line_for_each_library(bare_wheel):
    wheel, said = bare_wheel
    assert files_of(wheel) == source_files()
    for name in native.LIBRARIES:
        (line,) = [
            line for line in said.splitlines() if f"kernels.{name}" in line and "fail" in line
        ]
        assert "warning" in line
        assert "no-compiler" in line


def installed(wheel, folder):
    """Runs commands in an environment of its own, where a wheel is installed."""
    venv.create(folder / "venv", symlinks=True)
    bin_folder = folder / "venv" / "bin"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    # The dependencies of this environment, but none of its .pth files: not the checkout.
    dependencies = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    pip = [sys.executable, "-m", "pip", "--python", bin_folder / "python", "install"]
    options = ["--no-index", "--no-deps", "--quiet"]
    subprocess.run([*pip, *options, wheel], check=True, capture_output=True)
    left_out = {"PYTHONPATH", native.VARIABLE}
    environment = {k: v for k, v in os.environ.items() if k not in left_out}

    def run(program, *arguments):
        command = [bin_folder / program, *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        ).stdout

    return run, site


def works(wheel, folder, model):
    """The reasons for not using kernels, and the table of a small model, after all imports."""
    run, site = installed(wheel, folder)
    file, *modules = run("python", "-c", IMPORT_ALL).splitlines()
    assert Path(file).is_relative_to(site)
    files = {name for name in source_files() if name.endswith(".py")}
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    assert {*modules, "mlx_probe"} == names
    assert __version__ in run("mlx-probe", "--version")
    run("mlx-probe", "analyze", model, "--backend", "numpy", "--format", "csv", "--out", "run")
    return run("python", "-c", STATUSES).splitlines(), pd.read_csv(folder / "run" / "params.csv")


def test_a_wheel_works_with_kernels_and_without(wheel, bare_wheel, model, tmp_path):
    (tmp_path / "bare").mkdir()
    said, without = works(bare_wheel[0], tmp_path / "bare", model)
    assert said == [f"{name} it was not compiled" for name in native.LIBRARIES]
    (tmp_path / "full").mkdir()
    said, table = works(wheel, tmp_path / "full", model)
    if shutil.which(COMPILER):
        assert said == [f"{name} None" for name in native.LIBRARIES]
    tables = [comparable(each).drop(columns=OF_THE_SOLVER) for each in (table, without)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-9, atol=1e-12)
