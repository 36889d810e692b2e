"""What a run computes with: bits of a resumed run are the same on the same machine only."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version

import mlx.core as mx

from mlx_probe.compute.backends.mlx.blas import mlx_blas
from mlx_probe.core.language import tr
from mlx_probe.lab.device import compiles, device_label
from mlx_probe.lab.train.config import TrainConfig

__all__ = ["Machine", "compile_steps"]

# Operations after which compiling has paid for itself on a CPU: the first time on a machine g++
# takes 22 s of processor time for the 63 kernels of a step with Muon, and a compiled step of
# configs/train/shakespeare.yaml saves a fifth of the eager one's processor time, 1.6e-11 s for
# each operation (AMD EPYC, Zen 5; smaller models save more for each, 3e-11 s in tiny.yaml). Later
# runs find the kernels there; the rule does not ask, so that equal runs have equal bits.
_WORTH_IT = 1.4e12


def compile_steps(config: TrainConfig, flops: float) -> tuple[bool, str]:
    """Whether the steps of a run are compiled on the device in use, and why or why not.

    Args:
        config: Says what is wanted.
        flops: Operations of all steps.
    """
    if config.compile == "never":
        return False, "train.compile is never"
    if config.compile == "auto" and mx.default_device().type == mx.cpu and flops < _WORTH_IT:
        return False, "the run is shorter than compiling for the CPU"
    return compiles()


@dataclass(frozen=True)
class Machine:
    """What a run computes with.

    Attributes:
        mlx: Version of MLX.
        device: Name of the device.
        blas: Library of the CPU's matrix products; None for MLX's own.
        dtype: Numbers of forward and backward pass.
        compiled: Whether the steps are compiled.
        compile_reason: Why, or why not.
        world: Processes that train together.
    """

    mlx: str
    device: str
    blas: str | None
    dtype: str
    compiled: bool
    compile_reason: str
    world: int = 1

    @classmethod
    def here(cls, config: TrainConfig, flops: float, world: int = 1) -> Machine:
        """The machine and device in use.

        Args:
            config: Says what is wanted.
            flops: Operations of all steps.
            world: Processes that train together.
        """
        dtype = config.dtype
        if dtype == "auto":
            dtype = "bfloat16" if mx.default_device().type == mx.gpu else "float32"
        compiled, reason = compile_steps(config, flops)
        return cls(version("mlx"), device_label(), mlx_blas(), dtype, compiled, reason, world)

    @property
    def number_type(self) -> mx.Dtype:
        """The type of the numbers."""
        return mx.bfloat16 if self.dtype == "bfloat16" else mx.float32

    def describe(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @property
    def slow_products(self) -> str | None:
        """A warning where MLX multiplies many times slower than this machine can."""
        if self.blas or sys.platform != "linux" or mx.default_device().type == mx.gpu:
            return None
        return tr(
            "MLX multiplies with the slow BLAS of its wheel: install libopenblas0-pthread (apt) or "
            "mkl (pip), and do not set MLX_PROBE_MLX_BLAS=0; `mlx-probe doctor` says more"
        )

    def differences(self, earlier: dict[str, object]) -> list[str]:
        """Warnings: why what follows may have other bits than before.

        Args:
            earlier: `describe` of the machine that trained before.
        """
        now = self.describe()
        return [
            tr(
                "the run began with {name} {before} and goes on with {now}: its numbers may "
                "differ in the last bits",
                name=name,
                before=earlier.get(name),
                now=now[name],
            )
            for name in ("mlx", "device", "blas", "dtype", "compiled", "world")
            if earlier.get(name) != now[name]
        ]
