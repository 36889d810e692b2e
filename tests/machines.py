"""Machines that are not at hand: a Mac on which all is well, and what may be changed about it."""

from dataclasses import replace

from mlx_probe.compute.backends.mlx.status import MlxStatus
from mlx_probe.doctor import Facts
from mlx_probe.doctor.facts import Blas, Disk, Kernel, Protection, Requirement, System, Tool
from mlx_probe.source.hub.status import HubStatus

MAC = Facts(
    version="0.1.0",
    system=System(
        python="3.12.4",
        requires_python=">=3.10",
        system="Darwin",
        platform="macOS-15.1-arm64-arm-64bit",
        machine="arm64",
        cpu="Apple M3 Ultra",
        cores=28,
        memory=512 << 30,
    ),
    requirements=(
        Requirement("numpy", ">=1.26", "2.4.0", "mlx-probe", True),
        Requirement("mlx", ">=0.32", "0.32.4", "mlx-probe", True),
        Requirement("mlx-metal", "==0.32.4", "0.32.4", "mlx", True),
    ),
    packages={"mlx": "0.32.4", "mlx-metal": "0.32.4", "numpy": "2.4.0"},
    mlx=MlxStatus("0.32.4", True, "Apple M3 Ultra", 400 << 30, 300 << 30),
    mlx_problem="",
    blas=Blas("accelerate", None, 45e9, 90e9, 300e9),
    kernels=(Kernel("eigen"), Kernel("elements")),
    disks=(
        Disk("models of the Hub", "/hub", "HF_HOME", 10**12, 3e9, 5e9),
        Disk("wheels and calibrations", "/cache", "MLX_PROBE_CACHE", 10**12, 3e9, 5e9),
    ),
    hub=HubStatus("https://huggingface.co", False, 200, "", "valid", "HF_TOKEN"),
    tools=(
        Tool("Ollama", "/usr/local/bin/ollama 0.5.1", "models in /ollama"),
        Tool("LM Studio"),
        Tool("llama.cpp", "/usr/local/bin/llama-cli 4567"),
        Tool("torch", "2.13.0", "mps"),
        Tool("WeightWatcher", "0.7.7"),
    ),
    protection=Protection("on", "FileVault is On.", "administrator"),
)


def but(part=None, **changes):
    """The Mac with one of its parts, or of itself, changed."""
    if part is None:
        return replace(MAC, **changes)
    return replace(MAC, **{part: replace(getattr(MAC, part), **changes)})


# The same tool on Linux, without a GPU.
LINUX = replace(
    but("system", system="Linux", machine="x86_64", cpu="AMD EPYC", platform="Linux-6.1"),
    mlx=MlxStatus("0.32.4", False, "AMD EPYC"),
    blas=Blas("scipy-openblas 0.3.31", 2, 45e9, 95e9, 6e9),
    protection=None,
)
