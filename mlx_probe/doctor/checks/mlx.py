"""Does MLX work, and does it have a GPU?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Status, Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """MLX can be imported and sees a GPU."""
    mlx, system = facts.mlx, facts.system
    if mlx is None:
        # On other machines numpy does all that MLX would do.
        status: Status = "error" if system.is_apple else "warning"
        package = "mlx" if system.system == "Darwin" else "'mlx[cpu]'"
        install = f"Install it: pip install --force-reinstall {package}"
        yield status, facts.mlx_problem, facts.mlx_remedy or install
    elif not mlx.gpu:
        yield (
            "warning",
            f"MLX {mlx.version} sees no GPU; numpy will do the work on {mlx.device}",
            "Outside a virtual machine MLX finds the GPU of any Apple-Silicon Mac"
            if system.is_apple
            else "Nothing is wrong without one; GPUs are those of Apple-Silicon Macs, and NVIDIA's "
            "with pip install 'mlx[cuda12]'",
        )
    else:
        yield ok(f"MLX {mlx.version} on the GPU of {mlx.device}")
