"""Programs and packages that are useful together with mlx-probe, and whether they work."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlx_probe.doctor import programs
from mlx_probe.doctor.facts import Tool
from mlx_probe.source.stores import STORES

__all__ = ["TOOLS", "find_tools"]

_TORCH = """
import json, torch
print(json.dumps({"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}))
"""


def find_tools(packages: Mapping[str, str]) -> tuple[Tool, ...]:
    """Look for every member of `TOOLS`, all at the same time.

    Args:
        packages: Installed packages and their versions.
    """
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        return tuple(pool.map(lambda look: look(packages), TOOLS.values()))


def _ollama(packages: Mapping[str, str]) -> Tool:
    (store,) = STORES["ollama"].folders()
    tool = _program("Ollama", ("ollama",), ("Ollama.app",), store)
    if os.environ.get("OLLAMA_MODELS") and not store.is_dir():
        return Tool(tool.name, tool.found, problem=f"OLLAMA_MODELS is no folder: {store}")
    return tool


def _lm_studio(packages: Mapping[str, str]) -> Tool:
    stores = STORES["lm-studio"].folders()
    store = next(filter(Path.is_dir, stores), stores[0])
    commands = ("lms", str(Path.home() / ".lmstudio" / "bin" / "lms"))
    # Not asked for its version: its command would start the program.
    return _program("LM Studio", commands, ("LM Studio.app",), store, ask=False)


def _llama_cpp(packages: Mapping[str, str]) -> Tool:
    return _program("llama.cpp", ("llama-cli", "llama-server", "llama-quantize"))


def _torch(packages: Mapping[str, str]) -> Tool:
    version = packages.get("torch")
    if version is None:
        return Tool("torch")
    # In a separate process: importing torch takes seconds and a quarter of a gigabyte.
    output, problem = programs.ask([sys.executable, "-c", _TORCH])
    # Warnings may come before and after the answer.
    answers = [line for line in output.splitlines() if line.startswith("{")]
    if problem or not answers:
        return Tool("torch", version, problem=problem or "it does not say which devices it has")
    names = [name for name, there in json.loads(answers[-1]).items() if there]
    return Tool("torch", version, detail=" and ".join(names) or "cpu only")


def _weightwatcher(packages: Mapping[str, str]) -> Tool:
    version = packages.get("weightwatcher")
    if version is None:
        return Tool("WeightWatcher")
    problem = "" if "torch" in packages else "it needs torch, which is not installed"
    return Tool("WeightWatcher", version, problem=problem)


TOOLS: dict[str, Callable[[Mapping[str, str]], Tool]] = {
    "Ollama": _ollama,
    "LM Studio": _lm_studio,
    "llama.cpp": _llama_cpp,
    "torch": _torch,
    "WeightWatcher": _weightwatcher,
}


def _program(
    name: str,
    commands: Sequence[str],
    apps: Sequence[str] = (),
    store: Path | None = None,
    ask: bool = True,
) -> Tool:
    """Look for a program by its commands and its application folders.

    Args:
        name: Its name.
        commands: Names or paths of its command; the first that exists counts.
        apps: Names of its application on macOS.
        store: Its folder of models.
        ask: Whether to ask it for its version.
    """
    detail = f"models in {store}" if store is not None and store.is_dir() else ""
    path = next(filter(None, map(shutil.which, commands)), None)
    if path is None:
        folders = (Path("/Applications") / app for app in apps)
        return Tool(name, next((str(path) for path in folders if path.exists()), ""), detail)
    if not ask:
        return Tool(name, path, detail)
    output, problem = programs.ask([path, "--version"])
    # The first match: llama.cpp prints its compiler's version after its own.
    version = re.search(r"version(?: is|:) v?(\d[\w.-]*)", output)
    return Tool(name, f"{path} {version[1]}" if version else path, detail, problem)
