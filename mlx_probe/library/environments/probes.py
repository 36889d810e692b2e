"""The smallest real test of each framework: a program that the environment's Python runs.

What it prints, one line of JSON at the end, is judged here: the programs hold no sentences.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mlx_probe.library.environments.child import ask

__all__ = ["IMPORT", "PROBES", "Outcome", "Status", "run_probe"]

Status = Literal["ok", "warning", "error", "skipped"]

# Begins a check that imports a module.
IMPORT = "import "
# Seconds for a server on this machine to answer.
ANSWER = 2.0

# Small whole numbers: every float type and every order of the sums gives exactly these.
_MATRICES = """
import json
n = 16
a = [[float((3 * i + j) % 5 - 2) for j in range(n)] for i in range(n)]
b = [[float((i + 2 * j) % 7 - 3) for j in range(n)] for i in range(n)]
c = [[sum(a[i][k] * b[k][j] for k in range(n)) for j in range(n)] for i in range(n)]
"""
_MLX = f"""
import mlx.core as mx
{_MATRICES}
right = (mx.array(a) @ mx.array(b)).tolist() == c
version = getattr(mx, "__version__", "")
print(json.dumps({{"version": version, "right": right, "device": str(mx.default_device())}}))
"""
_MLX_LM = """
import json, mlx_lm
from mlx_lm import generate, load
print(json.dumps({"version": mlx_lm.__version__}))
"""
_TORCH = f"""
import sys, torch
{_MATRICES}
device = sys.argv[1]
there = device == "cpu" or torch.backends.mps.is_available()
right = None
if there:
    right = (torch.tensor(a).to(device) @ torch.tensor(b).to(device)).cpu().tolist() == c
print(json.dumps({{"version": torch.__version__, "right": right, "device": device}}))
"""
# Two packages carry llama.cpp; each is asked for something that its native library computes.
_LLAMA = """
import json
from importlib.metadata import version
try:
    import xllamacpp
    grammar = xllamacpp.json_schema_to_grammar('{"type": "integer"}')
    print(json.dumps({"version": version("xllamacpp"), "package": "xllamacpp",
        "right": "root ::=" in grammar, "info": str(xllamacpp.get_system_info())}))
except ModuleNotFoundError:
    import llama_cpp
    info = llama_cpp.llama_print_system_info().decode()
    print(json.dumps({"version": version("llama-cpp-python"), "package": "llama-cpp-python",
        "right": bool(info), "info": info}))
"""
_IMPORT = """
import importlib, json, sys
from importlib import metadata
module = importlib.import_module(sys.argv[1])
names = metadata.packages_distributions().get(sys.argv[1].partition(".")[0], [None])
print(json.dumps({
    "version": metadata.version(names[0]) if names[0] else "",
    "file": getattr(module, "__file__", None) or "",
    "inside": (getattr(module, "__file__", None) or sys.prefix).startswith(sys.prefix),
}))
"""


@dataclass(frozen=True)
class Outcome:
    """What a check has shown.

    Attributes:
        check: What was looked at.
        status: "ok", "warning" (something is doubtful), "error" (something does not work),
            "skipped" (it cannot be tried here).
        fact: What was seen.
        remedy: What to do about it; "" if nothing.
        version: Version of what was tried; "" where that says nothing.
    """

    check: str
    status: Status
    fact: str
    remedy: str = ""
    version: str = ""


@dataclass(frozen=True)
class Probe:
    """A framework's smallest test.

    Attributes:
        code: The program.
        judge: The outcome of what it printed; the name is the check's.
        arguments: Of the program.
    """

    code: str
    judge: Callable[[str, Mapping[str, Any]], Outcome]
    arguments: tuple[str, ...] = ()


def _product(name: str, answer: Mapping[str, Any]) -> Outcome:
    device, version = answer["device"], answer["version"]
    if answer["right"] is None:
        fact = f"torch has no {device} device on this machine"
        return Outcome(name, "skipped", fact, version=version)
    if answer["right"]:
        fact = f"a product of matrices is exact on {device}"
        return Outcome(name, "ok", fact, version=version)
    return Outcome(
        name,
        "error",
        f"a product of matrices is wrong on {device}",
        "Install another version of the package, and report this one to its makers",
        version,
    )


def _imported(name: str, answer: Mapping[str, Any]) -> Outcome:
    version = answer["version"]
    if not answer.get("inside", True):
        fact = f"it is imported from outside of the environment: {answer['file']}"
        return Outcome(name, "error", fact, "Install the package in this environment", version)
    return Outcome(name, "ok", "it can be imported", version=version)


def _llama(name: str, answer: Mapping[str, Any]) -> Outcome:
    package, version = answer["package"], answer["version"]
    if not answer["right"]:
        fact = f"the native library of {package} gives a wrong answer"
        return Outcome(name, "error", fact, f"Install another version of {package}", version)
    return Outcome(name, "ok", f"the native library of {package} answers", version=version)


PROBES: dict[str, Probe | Callable[[str], Outcome]] = {
    "mlx": Probe(_MLX, _product),
    "mlx-lm": Probe(_MLX_LM, _imported),
    "torch": Probe(_TORCH, _product, ("cpu",)),
    "torch-mps": Probe(_TORCH, _product, ("mps",)),
    "llama.cpp": Probe(_LLAMA, _llama),
    "llama-server": lambda name: _server(
        name, "llama-server", "status", _address("", 8080) + "/health"
    ),
    "ollama": lambda name: _server(
        name,
        "Ollama",
        "version",
        _address(os.environ.get("OLLAMA_HOST", ""), 11434) + "/api/version",
    ),
}


def run_probe(name: str, python: Path, timeout: float, cwd: Path) -> Outcome:
    """Run a test.

    Args:
        name: A member of `PROBES`, or "import NAME".
        python: The environment's interpreter.
        timeout: Seconds that it has.
        cwd: An empty folder.
    """
    probe = PROBES[name] if name in PROBES else _import_of(name)
    if not isinstance(probe, Probe):
        return probe(name)
    answer = ask([str(python), "-c", probe.code, *probe.arguments], timeout, cwd)
    # Packages print what they like before it.
    lines = [line for line in answer.output.splitlines() if line.startswith("{")]
    if answer.problem or not lines:
        fact = answer.problem or "it ends without a result"
        return Outcome(name, "error", fact, "Install it again, or another version of it")
    return probe.judge(name, json.loads(lines[-1]))


def _import_of(name: str) -> Probe:
    return Probe(_IMPORT, _imported, (name.removeprefix(IMPORT),))


def _address(given: str, port: int) -> str:
    """A server's address on this machine; one elsewhere is never asked."""
    parts = urlsplit(given if "//" in given else f"//{given}")
    with suppress(ValueError):
        port = parts.port or port
    return f"http://127.0.0.1:{port}"


def _server(name: str, title: str, key: str, url: str) -> Outcome:
    """Whether a server on this machine answers; it may as well not be installed.

    Args:
        name: The check's name.
        title: Name of the server, and in small letters of its program.
        key: What its answer, a JSON object, has.
        url: What to ask for.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    host, program = urlsplit(url).netloc, title.lower()
    try:
        with opener.open(url, timeout=ANSWER) as response:
            entries = json.loads(response.read(4096))
        if isinstance(entries, dict) and key in entries:
            version = str(entries.get("version", ""))
            return Outcome(name, "ok", f"{title} answers on {host}", version=version)
        fact = f"what answers on {host} is not {title}"
        remedy = f"Stop it, or start {title} on another port"
    except urllib.error.HTTPError as error:
        fact = f"what answers on {host} is not {title}, or not ready: HTTP status {error.code}"
        remedy = f"Wait, or start {title} on another port"
    except (OSError, ValueError):
        fact = f"{title} is installed and does not answer on {host}"
        remedy = f"Start it if you need it: {program}"
    if shutil.which(program) is None and not _is_application(title):
        return Outcome(name, "skipped", f"{title} is not installed on this machine")
    return Outcome(name, "warning", fact, remedy)


def _is_application(title: str) -> bool:
    return sys.platform == "darwin" and Path("/Applications", f"{title}.app").exists()
