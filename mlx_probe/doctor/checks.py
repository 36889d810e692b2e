"""What is well and what is not: functions of facts, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlx_probe.core.units import format_size
from mlx_probe.doctor.facts import Disk, Facts, Tool
from mlx_probe.doctor.packages import fits

__all__ = ["CHECKS", "Finding", "Status", "examine"]

Status = Literal["ok", "warning", "error"]

# A tuned BLAS does more on one core of any machine of the last ten years.
SLOW_PRODUCT = 5e9

# Bytes a second, below which reading a model takes longer than analysing it.
SLOW_READ, SLOW_WRITE = 200e6, 50e6

# Bytes: a model of 8 billion weights in 16 bits, and the least that any run writes.
ROOM, LEAST_ROOM = 16e9, 500e6


@dataclass(frozen=True)
class Finding:
    """What a check has to say.

    Attributes:
        check: Its name in `CHECKS`.
        status: "ok", "warning" (something works less well) or "error" (something does not work).
        fact: What is.
        remedy: What to do about it; "" if nothing is to be done.
    """

    check: str
    status: Status
    fact: str
    remedy: str = ""


# Status, fact, remedy.
Verdict = tuple[Status, str, str]


def _ok(fact: str) -> Verdict:
    return "ok", fact, ""


def check_python(facts: Facts) -> Iterator[Verdict]:
    """An interpreter of a version that will do, built for this processor."""
    system = facts.system
    fact = f"Python {system.python} for {system.machine}, {system.platform}"
    if not fits(system.python, system.requires_python):
        asked = system.requires_python
        yield "error", f"{fact}; mlx-probe needs {asked}", f"Make an environment of Python {asked}"
    elif system.is_apple and system.machine != "arm64":
        remedy = "Install Python for arm64: MLX and fast linear algebra exist only there"
        yield "error", f"{fact}, emulated on {system.cpu}", remedy
    else:
        yield _ok(fact)


def check_packages(facts: Facts) -> Iterator[Verdict]:
    """Everything that is asked for, in a version that will do."""
    if not facts.requirements:
        yield "error", "mlx-probe's own metadata is not there", "Install it: pip install mlx-probe"
        return
    lacking = [requirement for requirement in facts.requirements if not requirement.fits]
    for requirement in lacking:
        asked = f"{requirement.name}{requirement.asked}"
        found = "it is not installed" if requirement.installed is None else requirement.installed
        fact = f"{requirement.by} needs {asked}: {found}"
        yield "error", fact, f"Install it: pip install '{asked}'"
    if not lacking:
        names = {requirement.name for requirement in facts.requirements}
        yield _ok(f"{len(names)} packages that mlx-probe needs, all in versions that will do")


def check_mlx(facts: Facts) -> Iterator[Verdict]:
    """MLX, its device, and what fits into that."""
    mlx, system = facts.mlx, facts.system
    if mlx is None:
        # Elsewhere numpy does all that MLX would.
        status: Status = "error" if system.is_apple else "warning"
        package = "mlx" if system.system == "Darwin" else "'mlx[cpu]'"
        yield status, facts.mlx_problem, f"Install it: pip install --force-reinstall {package}"
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
        yield _ok(f"MLX {mlx.version} on the GPU of {mlx.device}")


def check_device_memory(facts: Facts) -> Iterator[Verdict]:
    """Enough of the memory for the GPU."""
    mlx, memory = facts.mlx, facts.system.memory
    if mlx is None or not mlx.gpu:
        return
    if mlx.working_set is None:
        yield (
            "warning",
            "MLX does not say how much memory its GPU should use",
            "Give analyze a --memory-limit, and update MLX: pip install --upgrade mlx",
        )
        return
    if not facts.system.is_apple:
        # A memory of its own: main memory says nothing about it.
        yield _ok(f"{format_size(mlx.working_set)} on the GPU")
        return
    working_set, total = format_size(mlx.working_set), format_size(memory)
    fact = f"{working_set} recommended as working set, of {total} in all"
    if mlx.longest_buffer is not None:
        fact += f"; arrays of up to {format_size(mlx.longest_buffer)}"
    if mlx.working_set < memory / 2:
        # Two thirds to three quarters is what macOS gives by itself.
        megabytes = memory * 2 // 3 >> 20
        remedy = (
            f"Raise the limit until the next start: sudo sysctl iogpu.wired_limit_mb={megabytes}"
        )
        yield "warning", fact, remedy
    else:
        yield _ok(fact)


def check_numpy_blas(facts: Facts) -> Iterator[Verdict]:
    """Linear algebra of numpy, by its speed."""
    blas = facts.blas
    threads = "threads of its own choice" if blas.threads is None else f"{blas.threads} threads"
    fact = f"numpy calls {blas.library}, {threads}"
    if blas.double_rate is None:
        remedy = "Run mlx-probe doctor again while nothing else runs"
        yield "warning", f"{fact}; its speed could not be measured", remedy
        return
    fact += f"; {blas.double_rate / 1e9:.1f} GFLOP/s on one core (float64 product)"
    if blas.double_rate < SLOW_PRODUCT:
        remedy = (
            "Install numpy's own wheel, which has a tuned one: pip install --force-reinstall numpy"
        )
        yield "warning", f"{fact}: slow", remedy
    else:
        yield _ok(fact)


def check_mlx_blas(facts: Facts) -> Iterator[Verdict]:
    """Linear algebra of MLX on the CPU, by its speed beside numpy's."""
    blas = facts.blas
    if blas.mlx_rate is None:
        return
    rates = (
        f"{blas.mlx_rate / 1e9:.1f} GFLOP/s on one core (float32 product, CPU), "
        f"numpy {blas.single_rate / 1e9:.1f}"
    )
    if not blas.mlx_is_slow:
        beside = f"; loaded beside numpy's: {', '.join(blas.others)}" if blas.others else ""
        yield _ok(f"MLX has a tuned BLAS: {rates}{beside}")
    elif facts.system.system == "Linux":
        yield (
            "warning",
            f"MLX calls the slow reference BLAS of its wheel: {rates}",
            "For --backend mlx without a GPU: apt install libopenblas0, then "
            "LD_PRELOAD=libopenblas.so.0 mlx-probe ... (LD_LIBRARY_PATH does not help)",
        )
    else:
        yield (
            "warning",
            f"MLX's products are slow: {rates}",
            "Run mlx-probe doctor again while nothing else runs, and update MLX",
        )


def check_disks(facts: Facts) -> Iterator[Verdict]:
    """Room and speed where models and caches are kept."""
    for disk in facts.disks:
        yield _check_disk(disk)


def _check_disk(disk: Disk) -> Verdict:
    where = f"{disk.folder} ({disk.holds})"
    move = f"set {disk.variable} to a folder on another disk"
    if disk.free is None or (disk.problem and disk.free >= ROOM):
        return (
            "error",
            f"{where}: {disk.problem}",
            f"Give yourself write permission there, or {move}",
        )
    fact = f"{where}: {format_size(disk.free)} free"
    if disk.free < LEAST_ROOM:
        return "error", fact, f"Free space there, or {move}"
    if disk.write_rate is None or disk.read_rate is None:
        return "error", f"{fact}; {disk.problem}", f"Free space or get permission there, or {move}"
    writes, reads = format_size(int(disk.write_rate)), format_size(int(disk.read_rate))
    fact += f", writes {writes}/s, reads {reads}/s"
    if disk.free < ROOM:
        return "warning", f"{fact}: little room for models", f"Free space there, or {move}"
    if disk.read_rate < SLOW_READ or disk.write_rate < SLOW_WRITE:
        return "warning", f"{fact}: slow", f"For large models {move}, an internal one"
    return _ok(fact)


def check_hub(facts: Facts) -> Iterator[Verdict]:
    """The Hub answers."""
    hub = facts.hub
    if hub is None:
        return
    if hub.offline:
        remedy = "Unset HF_HUB_OFFLINE to download models; those in the cache work as it is"
        yield "warning", "HF_HUB_OFFLINE is set: the Hub was not asked", remedy
    elif hub.status is None:
        remedy = "Check the connection, proxies and HF_ENDPOINT; --offline leaves this check out"
        yield "error", f"{hub.endpoint}: {hub.problem}", remedy
    elif hub.status == 429 or (hub.status >= 500 and hub.status != 501):
        fact = f"{hub.endpoint} answers {hub.status}"
        yield "warning", fact, "Try again in some minutes, or set HF_ENDPOINT to a mirror"
    elif 300 <= hub.status < 400:
        fact = f"{hub.endpoint} sends elsewhere ({hub.status})"
        yield "warning", fact, "Log in to the network, or set HF_ENDPOINT to where it sends"
    else:
        yield _ok(f"{hub.endpoint} answers")


def check_token(facts: Facts) -> Iterator[Verdict]:
    """A token is set, and the Hub takes it."""
    hub = facts.hub
    if hub is None:
        return
    renew = "Make a new one at huggingface.co/settings/tokens, then `hf auth login` or set HF_TOKEN"
    if hub.token == "none":
        remedy = "For gated and private models `hf auth login`, or set HF_TOKEN"
        yield "warning", "no token: the Hub gives only public models, and fewer at a time", remedy
    elif hub.token == "malformed":
        fact = f"the token ({hub.token_source}) has characters that no token has"
        yield "error", fact, renew
    elif hub.token == "refused":
        # With a bad token even public models are refused.
        yield "error", f"the Hub refuses the token ({hub.token_source})", renew
    elif hub.token == "unknown":
        fact = f"a token is set ({hub.token_source}); nobody said whether it is valid"
        yield "warning", fact, "Run mlx-probe doctor again when huggingface.co answers"
    else:
        yield _ok(f"the Hub takes the token ({hub.token_source})")


def check_tools(facts: Facts) -> Iterator[Verdict]:
    """Optional programs and packages work, where there are any."""
    for tool in facts.tools:
        yield _check_tool(tool, facts)


def _check_tool(tool: Tool, facts: Facts) -> Verdict:
    fact = f"{tool.name} {', '.join(filter(None, (tool.found, tool.detail))) or 'not found'}"
    if tool.problem:
        remedy = f"Repair or remove {tool.name}; mlx-probe can do without"
        return "warning", f"{fact}: {tool.problem}", remedy
    if tool.name == "torch" and tool.found and facts.system.is_apple and "mps" not in tool.detail:
        remedy = "Install torch for arm64 and macOS 12.3 or later; it is for comparisons only"
        return "warning", f"{fact}: without MPS", remedy
    return _ok(f"{fact}" if tool.found or tool.detail else f"{fact} (optional)")


CHECKS: dict[str, Callable[[Facts], Iterator[Verdict]]] = {
    "python": check_python,
    "packages": check_packages,
    "mlx": check_mlx,
    "device memory": check_device_memory,
    "numpy blas": check_numpy_blas,
    "mlx blas": check_mlx_blas,
    "disk": check_disks,
    "hub": check_hub,
    "token": check_token,
    "tools": check_tools,
}


def examine(facts: Facts) -> list[Finding]:
    """What every check has to say, in the order of the table.

    Args:
        facts: From `gather`.
    """
    return [Finding(name, *verdict) for name, check in CHECKS.items() for verdict in check(facts)]
