"""What is known of a machine: small records, and which of their facts last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlx_probe.compute.backends.mlx.status import MlxStatus
from mlx_probe.core.units import format_size
from mlx_probe.source.hub.status import HubStatus

__all__ = ["Blas", "Disk", "Facts", "Requirement", "System", "Tool"]

# A reference BLAS is 15 to 80 times slower than a tuned one; threads and noise make less.
REFERENCE_RATIO = 5


@dataclass(frozen=True)
class System:
    """Interpreter and machine.

    Attributes:
        python: Its version.
        requires_python: What mlx-probe asks of it; "" if its metadata is not there.
        system: "Darwin", "Linux" ...
        platform: The same with versions.
        machine: Instruction set that the interpreter was built for.
        cpu: The processor's name.
        cores: That this process may use.
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
    """A package that mlx-probe, or a package it needs, asks for.

    Attributes:
        name: The package.
        asked: Versions that will do, such as ">=1.26"; "" for any.
        installed: Its version; None if it is not there.
        by: Package that asks.
        fits: Whether it is there in such a version.
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
        library: What numpy calls.
        threads: That it takes by default; None where it does not say (Accelerate).
        double_rate: Flops in a second of numpy's float64 product on one core.
        single_rate: The same in float32.
        mlx_rate: The same of MLX on its CPU stream; None without MLX.
        others: Tuned libraries in this process that MLX may call instead of its own.
    """

    library: str
    threads: int | None
    double_rate: float | None
    single_rate: float
    mlx_rate: float | None
    others: tuple[str, ...] = ()

    @property
    def mlx_is_slow(self) -> bool:
        """Whether MLX's products are those of a reference BLAS."""
        return self.mlx_rate is not None and self.single_rate > REFERENCE_RATIO * self.mlx_rate


@dataclass(frozen=True)
class Disk:
    """The disk of a folder.

    Attributes:
        holds: What is kept there.
        folder: The folder.
        variable: Environment variable that moves it.
        free: Bytes free; None if that could not be told.
        write_rate: Bytes written in a second, down to the disk; None if not measured.
        read_rate: Bytes read in a second, from the disk where the system allows; None likewise.
        problem: Why something is None; "" if nothing is.
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
        name: What it is called.
        found: Where it is, or its version; "" if it is not there.
        detail: What else is known: the devices of torch, a folder of models.
        problem: What is wrong with it; "" if nothing is.
    """

    name: str
    found: str = ""
    detail: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """All that is known of this machine and its environment.

    Attributes:
        version: mlx-probe's.
        system: Interpreter and machine.
        requirements: What is asked for; empty if mlx-probe's metadata is not there.
        packages: Every installed package and its version.
        mlx: MLX here; None if it cannot be imported.
        mlx_problem: Why; "" if it can.
        blas: Linear algebra.
        disks: The folders that mlx-probe keeps things in.
        hub: The Hub; None if nobody was to be asked.
        tools: Optional programs and packages, found or not.
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

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {**asdict(self), "packages": dict(self.packages)}

    def lasting(self) -> dict[str, str]:
        """What makes this environment this one: no rates, no free space, nobody's account."""
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
        return lasting | {
            tool.name: ", ".join(filter(None, (tool.found, tool.detail, tool.problem)))
            or "not found"
            for tool in self.tools
        }
