"""What is known about a machine: small records, and which facts identify the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlx_probe.compute.backends.mlx.status import MlxStatus
from mlx_probe.core.units import format_size
from mlx_probe.source.hub.status import HubStatus

__all__ = ["Blas", "Disk", "Facts", "Kernel", "Protection", "Requirement", "System", "Tool"]

# A reference BLAS is 15 to 80 times slower than a tuned one; threads and noise make less.
REFERENCE_RATIO = 5


@dataclass(frozen=True)
class System:
    """Interpreter and machine.

    Attributes:
        python: Its version.
        requires_python: Versions that mlx-probe supports; "" if its metadata is missing.
        system: "Darwin", "Linux" ...
        platform: The system with its version.
        machine: Instruction set that the interpreter was built for.
        cpu: The processor's name.
        cores: Cores that this process may use.
        memory: Bytes of main memory.
    """

    python: str
    requires_python: str
    system: str
    platform: str
    machine: str
    cpu: str
    cores: int
    memory: int

    @property
    def is_apple(self) -> bool:
        """Whether the processor is Apple's, whatever the interpreter was built for."""
        return self.system == "Darwin" and (self.machine == "arm64" or "Apple" in self.cpu)


@dataclass(frozen=True)
class Requirement:
    """A package that mlx-probe needs, directly or through another package.

    Attributes:
        name: The package.
        asked: Versions that fit, such as ">=1.26"; "" for any.
        installed: The installed version; None if the package is not installed.
        by: The package that needs it.
        fits: Whether the installed version fits.
    """

    name: str
    asked: str
    installed: str | None
    by: str
    fits: bool


@dataclass(frozen=True)
class Blas:
    """Linear algebra of numpy and of MLX.

    Attributes:
        library: The BLAS that numpy calls.
        threads: Its default number of threads; None if it does not say (Accelerate).
        double_rate: Speed of numpy's float64 product on one core, in flops a second; None if
            it could not be measured.
        single_rate: Speed of numpy's float32 product on one core, in flops a second.
        mlx_rate: Speed of the same product in MLX on its CPU stream; None without MLX.
        others: Tuned libraries in this process that MLX may call instead of its own.
        mlx_library: Path of the one that MLX calls; None if it calls its own.
    """

    library: str
    threads: int | None
    double_rate: float | None
    single_rate: float
    mlx_rate: float | None
    others: tuple[str, ...] = ()
    mlx_library: str | None = None

    @property
    def mlx_is_slow(self) -> bool:
        """Whether MLX's products are as slow as those of a reference BLAS."""
        return self.mlx_rate is not None and self.single_rate > REFERENCE_RATIO * self.mlx_rate


@dataclass(frozen=True)
class Kernel:
    """A library of compiled kernels.

    Attributes:
        name: What it computes.
        reason: Why it cannot be used; "" if it is used.
        remedy: What to do about it; "" if it is used.
    """

    name: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Disk:
    """The disk of a folder.

    Attributes:
        holds: What is kept there.
        folder: The folder.
        variable: Environment variable that moves the folder.
        free: Free bytes; None if unknown.
        write_rate: Bytes written and flushed in a second; None if not measured.
        read_rate: Bytes read in a second, from the disk where the system allows it; None if not
            measured.
        problem: Why a value is None; "" if none is.
    """

    holds: str
    folder: str
    variable: str
    free: int | None = None
    write_rate: float | None = None
    read_rate: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Tool:
    """A program or package that mlx-probe can do without.

    Attributes:
        name: Its name.
        found: Its path and version; "" if it is not installed.
        detail: What else is known: the devices of torch, a folder of models.
        problem: What is wrong with it; "" if nothing is.
    """

    name: str
    found: str = ""
    detail: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Protection:
    """What a Mac does for those who use it, and mlx-probe does not.

    Attributes:
        encryption: Of the disk: "on", "off", "changing" or "unknown".
        said: What the system said of it.
        account: This user's: "administrator", "standard" or "unknown".
    """

    encryption: str
    said: str
    account: str


@dataclass(frozen=True)
class Facts:
    """All that is known about this machine and its environment.

    Attributes:
        version: Version of mlx-probe.
        system: Interpreter and machine.
        requirements: Packages that mlx-probe needs; empty if its metadata is missing.
        packages: Every installed package and its version.
        mlx: MLX here; None if it cannot be imported.
        mlx_problem: Why not; "" if it can.
        blas: Linear algebra.
        disks: The folders of models and caches, and their disks.
        hub: The Hub; None without network.
        tools: Optional programs and packages, installed or not.
        mlx_remedy: How to correct a setting that keeps MLX from starting; "" if none does.
        kernels: Compiled kernels, used or not.
        language: The language of messages.
        asked_language: What MLX_PROBE_LANG asks for; "" if it is not set.
        protection: Disk encryption and account of a Mac; None elsewhere.
    """

    version: str
    system: System
    requirements: tuple[Requirement, ...]
    packages: Mapping[str, str]
    mlx: MlxStatus | None
    mlx_problem: str
    blas: Blas
    disks: tuple[Disk, ...]
    hub: HubStatus | None
    tools: tuple[Tool, ...]
    mlx_remedy: str = ""
    kernels: tuple[Kernel, ...] = ()
    language: str = "en"
    asked_language: str = ""
    protection: Protection | None = None

    def describe(self) -> dict[str, Any]:
        """All facts, for JSON."""
        return {**asdict(self), "packages": dict(self.packages)}

    def lasting(self) -> dict[str, str]:
        """Facts that identify the environment: no rates, no free space, no account."""
        mlx, blas, system = self.mlx, self.blas, self.system
        lasting = {
            "mlx-probe": self.version,
            "Python": system.python,
            "platform": system.platform,
            "machine": system.machine,
            "processor": system.cpu,
            "cores": str(system.cores),
            "memory": format_size(system.memory),
            "MLX": mlx.version if mlx else "cannot be imported",
            "MLX device": f"{'gpu' if mlx.gpu else 'cpu'}: {mlx.device}" if mlx else "none",
            "MLX working set": format_size(mlx.working_set)
            if mlx and mlx.working_set
            else "unknown",
            "BLAS of numpy": blas.library,
            "BLAS threads": "unknown" if blas.threads is None else str(blas.threads),
        }
        if mlx:
            lasting["BLAS of MLX"] = "slow reference" if blas.mlx_is_slow else "tuned"
        lasting |= {f"kernels {each.name}": each.reason or "used" for each in self.kernels}
        return lasting | {
            tool.name: ", ".join(filter(None, (tool.found, tool.detail, tool.problem)))
            or "not found"
            for tool in self.tools
        }
