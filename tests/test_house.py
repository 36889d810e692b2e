"""The structure: imports go one way, tables are complete, the README is generated."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import mlx_probe
from mlx_probe.metrics import METRICS
from mlx_probe.report.docs import insert_columns

ROOT = Path(mlx_probe.__file__).parent.parent

# Lower may not import higher; packages on one level may not import each other.
LEVELS = (
    {"errors", "records", "dtypes", "naming", "version", "sharding", "monitor", "schedule"}
    | {"lapack", "calibration", "cache", "solver_race", "machine", "cost"}
    | {"markdown", "sizes"},
    {"source", "checkpoint", "backends", "table"},
    {"spectrum"},
    {"metrics"},
    {"plan", "order", "measure", "analyze", "spotcheck", "run"}
    | {"workload", "contenders", "bench", "elements", "heads", "experts", "sides"}
    | {"compare", "comparison", "doctor", "preflight", "catalog", "download"}
    | {"watch", "course", "attach", "revisit"},
    {"report"},
    {"cli"},
)
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
ONLY_IN = {
    "huggingface_hub": {"source"},
    "mlx": {"backends"},
    "click": {"cli"},
}


def modules():
    for folder, package in ((ROOT / "mlx_probe", ""), (ROOT / "cli", "cli")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts != ("__init__",) or package:
                yield path, package or parts[0]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            # `from mlx_probe import checkpoint` imports a package of ours as well.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("path", "package"), list(modules()), ids=lambda v: getattr(v, "name", v))
def test_imports_go_one_way(path, package):
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "mlx_probe" and rest.split(".")[0] in LEVEL_OF:
            other = rest.split(".")[0]
            higher = LEVEL_OF[other] > LEVEL_OF[package]
            beside = LEVEL_OF[other] == LEVEL_OF[package] == 1 and other != package
            assert not higher, f"{path} imports {name} from above"
            assert not beside, f"{path} imports {name} from beside"
        assert package in ONLY_IN.get(top, {package}), f"{path} imports {name}"


def test_every_module_has_a_level():
    assert {package for _, package in modules()} <= set(LEVEL_OF)


def test_main_path_is_about_a_screen():
    source = (ROOT / "mlx_probe" / "analyze.py").read_text("utf-8")
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    assert all(f.end_lineno - f.lineno < 70 for f in functions)


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.walk_packages(mlx_probe.__path__, "mlx_probe.")]
)
def test_all_names_what_the_module_has(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public)


def test_metric_names_are_unique_and_documented():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.column.description for metric in METRICS)


def test_readme_has_the_columns_as_they_are():
    text = (ROOT / "README.md").read_text("utf-8")
    assert insert_columns(text) == text
