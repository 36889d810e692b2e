"""Gathers the facts that the checks need, in a few seconds."""

from __future__ import annotations

import os
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import metadata

import numpy as np
import psutil
from threadpoolctl import threadpool_info, threadpool_limits

from mlx_probe.compute import native
from mlx_probe.compute.backends.mlx.blas import mlx_blas
from mlx_probe.compute.backends.mlx.status import MlxStatus, cpu_product_rate, mlx_status
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.errors import BackendError, ConfigError
from mlx_probe.core.language import VARIABLE, language
from mlx_probe.core.machine import blas_library, cpu_model, usable_cores
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.version import __version__
from mlx_probe.doctor.disk import measure_disk
from mlx_probe.doctor.facts import Blas, Disk, Facts, Kernel, System
from mlx_probe.doctor.packages import DISTRIBUTION, installed_packages, requirements
from mlx_probe.doctor.protection import look_at_protection
from mlx_probe.doctor.tools import find_tools
from mlx_probe.source.hub.status import HubStatus, hub_cache, hub_settings, hub_status

__all__ = ["gather"]

# Small enough for a reference BLAS, large enough that the start of an operation does not matter.
PRODUCT_SIDE, REPEATS = 256, 5

# Seconds for the Hub: for one wait, and for all together, including the lookup of its name.
HUB_TIMEOUT, HUB_LONGEST = 3.0, 4.0


def gather(offline: bool = False) -> Facts:
    """Look at this machine, its packages, its disks and the Hub.

    Args:
        offline: Do not use the network.
    """
    packages = installed_packages()
    # Speed is measured first, before our own threads keep the cores busy.
    mlx, problem, remedy = _mlx()
    blas = _blas(mlx is not None)
    with ThreadPoolExecutor(1) as pool:
        request = None if offline else _HubRequest()
        tools = pool.submit(find_tools, packages)
        return Facts(
            version=__version__,
            system=_system(),
            requirements=requirements(packages),
            packages=packages,
            mlx=mlx,
            mlx_problem=problem,
            mlx_remedy=remedy,
            blas=blas,
            kernels=tuple(
                Kernel(each.name, each.reason or "", each.remedy or "")
                for each in native.statuses()
            ),
            disks=tuple(measure_disk(disk) for disk in _folders()),
            hub=request.answer() if request else None,
            tools=tools.result(),
            language=language(),
            asked_language=os.environ.get(VARIABLE, ""),
            protection=look_at_protection(),
        )


class _HubRequest(threading.Thread):
    """Asks the Hub for its status, and gives up in time even if the request hangs."""

    def __init__(self) -> None:
        # A daemon: a name lookup can take minutes, and nothing can stop it.
        super().__init__(daemon=True)
        self._status: HubStatus | None = None
        self._deadline = time.monotonic() + HUB_LONGEST
        self.start()

    def run(self) -> None:
        """Send the request."""
        self._status = hub_status(HUB_TIMEOUT)

    def answer(self) -> HubStatus:
        """The Hub's status; without an answer in time, one that says so."""
        self.join(max(0.0, self._deadline - time.monotonic()))
        late = f"no answer within {HUB_LONGEST:g} s"
        return self._status or replace(hub_settings(), problem=late)


def _system() -> System:
    asked = ""
    with suppress(metadata.PackageNotFoundError, KeyError):
        asked = metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    return System(
        python=platform.python_version(),
        requires_python=asked,
        system=platform.system(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpu=cpu_model(),
        cores=usable_cores(),
        memory=int(psutil.virtual_memory().total),
    )


def _mlx() -> tuple[MlxStatus | None, str, str]:
    """MLX, or what is wrong with it and how to correct a wrong setting."""
    try:
        return mlx_status(), "", ""
    except ConfigError as error:
        return None, error.fact, error.remedy
    except BackendError as error:
        return None, error.fact, ""
    # A driver or a library that does not fit makes the import fail in these ways.
    except (OSError, RuntimeError) as error:
        return None, f"MLX does not start: {type(error).__name__}: {error}", ""


def _blas(with_mlx: bool) -> Blas:
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in pools if "numpy" in pool["filepath"]]
    # The wheels of numpy and SciPy rename the functions of their BLAS: MLX cannot call them.
    others = [pool for pool in pools if not str(pool["prefix"]).startswith("libscipy")]
    with threadpool_limits(1, user_api="blas"):
        single = _single_rate()
        mlx = cpu_product_rate(PRODUCT_SIDE) if with_mlx else None
        # Measured again, in case something disturbed the first measurement.
        single = max(single, _single_rate())
    return Blas(
        library=blas_library(),
        threads=own[0]["num_threads"] if own else None,
        double_rate=load_calibration(rates=True).product_rate,
        single_rate=single,
        mlx_rate=mlx,
        mlx_library=mlx_blas(),
        others=tuple(
            f"{pool['internal_api']} {pool['version'] or ''}".strip()
            for pool in others
            if pool not in own
        ),
    )


def _single_rate() -> float:
    a = np.ones((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    product = np.empty_like(a)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        np.matmul(a, a, out=product)
        seconds.append(time.perf_counter() - began)
    return 2 * PRODUCT_SIDE**3 / min(seconds)


def _folders() -> tuple[Disk, ...]:
    return (
        Disk("models of the Hub", hub_cache(), "HF_HOME"),
        Disk("wheels and calibrations", str(cache_dir()), "MLX_PROBE_CACHE"),
    )
