"""A fast BLAS for MLX on Linux.

MLX's wheel for Linux carries the reference BLAS, whose float32 products run at 2 to 5 GFLOP/s on
one core where a tuned library reaches 40 to 100. MLX calls the functions by their standard names,
and the linker binds these to the first library that offers them to the whole process. A tuned
library that is loaded so before the first import of MLX takes the place of the reference BLAS.

numpy is imported before that, and keeps the BLAS that it has. A package that calls the standard
names and is imported later, as PyTorch does, gets the loaded library as well. On macOS MLX calls
Accelerate, and nothing is loaded.
"""

from __future__ import annotations

import ctypes
import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from mlx_probe.compute import lapack
from mlx_probe.core.errors import ConfigError

__all__ = ["VARIABLE", "load_blas", "mlx_blas"]

# "0" or "off" keeps MLX's own BLAS; a path or a name for the linker names a library.
VARIABLE = "MLX_PROBE_MLX_BLAS"

# What the linker knows: OpenBLAS with threads as Fedora and as Debian and others call it, BLIS.
SYSTEM = ("libopenblasp.so.0", "libopenblas.so.0", "libblis.so.4")
# In the environment of this interpreter: conda's OpenBLAS, the `mkl` wheel.
INSTALLED = ("libopenblas.so.*", "libmkl_rt.so.*")
# Any BLAS that the administrator chose; the reference BLAS where nobody did.
ALTERNATIVE = "libblas.so.3"

# A function that only the tuned libraries have: OpenBLAS, MKL, BLIS.
MARKS = ("openblas_get_config", "MKL_Get_Version", "bli_info_get_version_str")
# The product that MLX calls, and MKL's number for no threads of its own.
PRODUCT, SEQUENTIAL = "cblas_sgemm", 1


class _Symbol(ctypes.Structure):
    """Dl_info of dladdr(3): the file of an address, and more."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def load_blas() -> None:
    """Load a tuned BLAS for MLX, where there is one; without effect once MLX is imported.

    Raises:
        ConfigError: MLX_PROBE_MLX_BLAS names what is not a BLAS library.
    """
    setting = os.environ.get(VARIABLE, "").strip()
    if sys.platform != "linux" or "mlx.core" in sys.modules or setting.lower() in ("0", "off"):
        return
    # Its functions must be numpy's, whatever else is there later.
    lapack.works_in_place()
    if _offering_library() is not None:
        return  # preloaded
    if setting:
        _load_named(setting)
        return
    for name in _candidates():
        try:
            if _has(ctypes.CDLL(name), *MARKS):
                _load(name)
                return
        except OSError:
            continue


def mlx_blas() -> str | None:
    """Path of the library that does MLX's products on the CPU in this process.

    None without MLX, and where MLX calls what it came with.
    """
    return _offering_library() if sys.platform == "linux" and "mlx.core" in sys.modules else None


def _candidates() -> Iterator[str]:
    """Names and paths to try, the best first."""
    yield from SYSTEM
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix, site.getuserbase())):
        for pattern in INSTALLED:
            yield from sorted(map(str, Path(prefix, "lib").glob(pattern)), reverse=True)
    yield ALTERNATIVE


def _load_named(name: str) -> None:
    remedy = f"Give the path of a BLAS library; unset {VARIABLE} to search for one; 0 loads none"
    try:
        library = ctypes.CDLL(str(Path(name).expanduser()))
    except OSError as error:
        raise ConfigError(f"{VARIABLE}={name} cannot be loaded: {error}", remedy) from error
    if not _has(library, PRODUCT):
        raise ConfigError(f"{VARIABLE}={name} is no BLAS: it has no {PRODUCT}", remedy)
    _load(str(Path(name).expanduser()))


def _load(name: str) -> None:
    """Offer a library's functions to everything that is loaded after it."""
    library = ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    if _has(library, "MKL_Set_Threading_Layer") and "MKL_THREADING_LAYER" not in os.environ:
        # Its OpenMP threads would not survive a fork, nor get on with another OpenMP.
        library.MKL_Set_Threading_Layer(SEQUENTIAL)


def _has(library: ctypes.CDLL, *names: str) -> bool:
    """Whether a library has one of some functions."""
    return any(hasattr(library, name) for name in names)


def _offering_library() -> str | None:
    """Path of the library that offers products to the whole process; None if none does."""
    process = ctypes.CDLL(None)
    if not _has(process, PRODUCT):
        return None
    symbol = _Symbol()
    product = ctypes.cast(getattr(process, PRODUCT), ctypes.c_void_p)
    if not process.dladdr(product, ctypes.byref(symbol)) or symbol.file is None:
        return None
    return str(Path(os.fsdecode(symbol.file)).resolve())
