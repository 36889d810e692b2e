"""The checks: functions of the gathered facts, in one table.

A new check is one module with a function ``check``, and one line in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlx_probe.doctor.checks import (
    account,
    device_memory,
    disk,
    disk_encryption,
    hub,
    kernels,
    language,
    mlx,
    mlx_blas,
    numpy_blas,
    packages,
    python,
    token,
    tools,
)
from mlx_probe.doctor.checks.finding import Finding, Verdict
from mlx_probe.doctor.facts import Facts

__all__ = ["CHECKS", "examine"]

# By the name that is shown, in the order in which they are shown.
CHECKS: dict[str, Callable[[Facts], Iterator[Verdict]]] = {
    "python": python.check,
    "language": language.check,
    "packages": packages.check,
    "mlx": mlx.check,
    "device memory": device_memory.check,
    "numpy blas": numpy_blas.check,
    "mlx blas": mlx_blas.check,
    "kernels": kernels.check,
    "disk": disk.check,
    "disk encryption": disk_encryption.check,
    "account": account.check,
    "hub": hub.check,
    "token": token.check,
    "tools": tools.check,
}


def examine(facts: Facts) -> list[Finding]:
    """The results of every check, in the order of the table.

    Args:
        facts: From `gather`.
    """
    return [Finding(name, *verdict) for name, check in CHECKS.items() for verdict in check(facts)]
