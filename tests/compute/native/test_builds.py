"""The kernels compile everywhere: each C file, by each compiler that is here, for each machine."""

import platform
import re
import shutil
import struct
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import pytest
from kernel_sources import KERNELS, extensions
from project import ROOT

from mlx_probe.compute import native

STRICT = ("-Wall", "-Wextra", "-Werror")
# Of ELF and of Mach-O headers.
X86_64, ARM64 = "x86-64", "arm64"
ELF_MACHINES = {62: X86_64, 183: ARM64}
MACHO_MAGIC, MACHO_MACHINES = 0xFEEDFACF, {0x01000007: X86_64, 0x0100000C: ARM64}

# `zig cc` is clang with the headers of every system.
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target"]
HERE = (
    "Mach-O" if sys.platform == "darwin" else "ELF",
    {"x86_64": X86_64, "arm64": ARM64, "aarch64": ARM64}.get(platform.machine()),
)
COMPILERS = {
    "gcc": (["gcc"], HERE),
    "clang": (["clang"], HERE),
    "gcc for arm64 Linux": (["aarch64-linux-gnu-gcc"], ("ELF", ARM64)),
    "zig for x86-64 Linux": ([*ZIG, "x86_64-linux-gnu"], ("ELF", X86_64)),
    "zig for arm64 Linux": ([*ZIG, "aarch64-linux-gnu"], ("ELF", ARM64)),
    "zig for arm64 musl": ([*ZIG, "aarch64-linux-musl"], ("ELF", ARM64)),
    "zig for x86-64 musl": ([*ZIG, "x86_64-linux-musl"], ("ELF", X86_64)),
    "zig for arm64 macOS": ([*ZIG, "aarch64-macos"], ("Mach-O", ARM64)),
    "zig for x86-64 macOS": ([*ZIG, "x86_64-macos"], ("Mach-O", X86_64)),
}


@cache
def is_here(*command):
    """Whether a compiler is installed, with the headers of the machine that it compiles for."""
    if command[: len(ZIG)] == tuple(ZIG):
        return find_spec("ziglang") is not None
    if shutil.which(command[0]) is None:
        return False
    check = [*command, "-x", "c", "-fsyntax-only", "-"]
    return not subprocess.run(check, input=b"#include <math.h>", capture_output=True).returncode


def machine_of(content):
    """Format and machine of an object file, from its header."""
    if content[:4] == b"\x7fELF":
        return "ELF", ELF_MACHINES[struct.unpack_from("<H", content, 18)[0]]
    magic, machine = struct.unpack_from("<II", content)
    assert magic == MACHO_MAGIC
    return "Mach-O", MACHO_MACHINES[machine]


@pytest.mark.slow
@pytest.mark.parametrize("name", native.LIBRARIES)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_it_compiles_without_a_warning_for_the_machine_that_is_meant(
    compiler, name, tmp_path, tmp_path_factory, monkeypatch
):
    command, expected = COMPILERS[compiler]
    if not is_here(*command):
        pytest.skip(f"needs {command[0] if command[: len(ZIG)] != ZIG else 'ziglang'}")
    # One for all: zig keeps what it has made of its own files.
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "zig"))
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(tmp_path / "zig"))
    extension = extensions()[name]
    sources = [ROOT / source for source in extension["sources"]]
    flags = [*extension["extra-compile-args"], *STRICT, "-fPIC", "-c"]
    for source in sources:
        target = tmp_path / f"{source.stem}.o"
        done = subprocess.run(
            [*command, *flags, source, "-o", target], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert machine_of(target.read_bytes()) == expected


def test_every_library_is_an_optional_extension():
    assert extensions().keys() == native.LIBRARIES.keys()
    for name, extension in extensions().items():
        assert extension["name"] == f"mlx_probe.compute.native.kernels.{name}"
        assert extension["optional"] is True


def included(path):
    """The headers of ours that a C file brings in, and those that they bring in."""
    for name in re.findall(r'^#include "(.+)"', path.read_text("utf-8"), re.MULTILINE):
        yield path.parent / name
        yield from included(path.parent / name)


@pytest.mark.parametrize("name", native.LIBRARIES)
def test_an_extension_depends_on_its_headers(name):
    # So that they are in the source archive, and a change of one compiles the library again.
    extension = extensions()[name]
    headers = {path for source in extension["sources"] for path in included(ROOT / source)}
    declared = {ROOT / path for path in extension.get("depends", ())}
    assert headers == declared


def test_every_c_file_is_compiled():
    sources = {ROOT / source for each in extensions().values() for source in each["sources"]}
    headers = {ROOT / path for each in extensions().values() for path in each.get("depends", ())}
    assert {*KERNELS.glob("*.[ch]")} == sources | headers


@pytest.mark.parametrize("name", native.LIBRARIES)
def test_the_version_of_the_interface_is_that_of_the_c_file(name):
    # The compiled one may be older than its source: it is checked when it is loaded.
    source = ROOT / extensions()[name]["sources"][0]
    (number,) = re.findall(rf"probe_{name}_abi = (\d+);", source.read_text("utf-8"))
    assert int(number) == native.LIBRARIES[name]
