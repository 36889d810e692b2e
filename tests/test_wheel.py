"""What pip makes of a checkout: a wheel, directly and from the source archive, that works."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from project import ROOT

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


def not_source(folder, names):
    """What may lie about in a checkout."""
    here = NOT_SOURCE if Path(folder) == ROOT else set()
    return {name for name in names if name in here or name == "__pycache__" or "_cache" in name}


def build(kind, folder, out):
    """The file that setuptools makes of a folder."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", str(out)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive, and the wheel made of it; pip makes one of a checkout the same way."""
    root = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, root / "checkout", symlinks=True, ignore=not_source)
    archive = build("sdist", root / "checkout", root)
    with tarfile.open(archive) as tar:
        tar.extractall(root / "unpacked", filter="data")
    (folder,) = (root / "unpacked").iterdir()
    return archive, build("wheel", folder, root), build("wheel", root / "checkout", root / "direct")


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def source_files():
    """Every file of the package, with the commands where the link puts them."""
    package = ROOT / "mlx_probe"
    paths = [*package.rglob("*"), *(package / "cli").rglob("*")]
    wanted = (p for p in paths if p.is_file() and "__pycache__" not in p.parts)
    return {path.relative_to(ROOT).as_posix() for path in wanted}


def test_a_wheel_holds_the_package_and_nothing_else(built):
    archive, *wheels = built
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    kept = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert source_files() <= kept
    for wheel in wheels:
        own = {name for name in files_of(wheel) if ".dist-info/" not in name}
        assert own == source_files()


def test_the_wheel_works_where_it_is_installed(built, tmp_path):
    _, _, wheel = built
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # The dependencies of this environment, but none of its .pth files: not the checkout.
    dependencies = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--quiet", wheel], check=True, capture_output=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    file, *modules = run(python, "-c", IMPORT_ALL).splitlines()
    assert Path(file).is_relative_to(site)
    files = {name for name in source_files() if name.endswith(".py")}
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    assert {*modules, "mlx_probe"} == names
    assert __version__ in run(site.parents[2] / "bin" / "mlx-probe", "--version")
