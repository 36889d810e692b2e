"""The structure: imports go one way and in no circle, rooms keep their level, files are small."""

import ast
import importlib
import pkgutil
import statistics
from functools import cache
from pathlib import Path

from project import ROOT

import mlx_probe
from mlx_probe.metrics import METRICS

# Lower rooms may not import higher ones; rooms on one level may not import each other.
LEVELS = (
    {"core"},
    {"source", "checkpoint", "compute"},
    {"metrics", "runs", "doctor"},
    {"analysis", "library"},
    {"lab"},
    {"report"},
    {"cli"},
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Packages from outside, and where alone they may be imported.
ONLY_IN = {
    "huggingface_hub": ("source",),
    "mlx": ("compute.backends.mlx", "lab"),
    "mlx_lm": ("lab",),
    "transformers": ("lab",),
    "tokenizers": ("lab",),
    "matplotlib": ("report",),
    "plotly": ("report",),
    "mlflow": ("runs.exporters",),
    "trackio": ("runs.exporters",),
    "click": ("cli",),
    "dask": ("analysis.cluster",),
    "distributed": ("analysis.cluster",),
    "duckdb": ("library.query", "cli.mcp"),
    "mcp": ("cli.mcp", "cli.assistant"),
    "rich": ("report", "cli"),
}
# Tables: one line for each member, however many there are.
LONG_TABLES = ("checkpoint.naming.rules",)
LONGEST_FILE = 400
# Folders beside the package whose files are as small.
BESIDE = ("tests", "benchmarks")
LONGEST_CHAIN = 14


@cache
def modules():
    """Every module by its name below mlx_probe, "" for the package itself."""
    package = ROOT / "mlx_probe"
    paths = [*package.rglob("*.py"), *(package / "cli").rglob("*.py")]
    names = {}
    for path in paths:
        parts = path.relative_to(package).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def tree(name):
    return ast.parse(modules()[name].read_text("utf-8"))


def length(path):
    return len(path.read_text("utf-8").splitlines())


def imported(name, nodes):
    """Full names that the import statements among some nodes bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = f"mlx_probe.{name}".split(".")
                is_package = modules()[name].name == "__init__.py"
                above = package[: len(package) - node.level + is_package]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full.removeprefix("mlx_probe.") in modules() else base


def at_import(nodes):
    """The nodes that run when the module is imported."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        for field in ("body", "orelse", "handlers", "finalbody"):
            yield from at_import(getattr(node, field, []))


@cache
def needed(name):
    """Modules of ours that importing a module imports."""
    names = {full.removeprefix("mlx_probe.") for full in imported(name, at_import(tree(name).body))}
    return {other for other in names if other in modules() and other not in ("", name)}


@cache
def chain(name):
    """The longest chain of imports that begins with a module."""
    longest = max((chain(other) for other in sorted(needed(name))), key=len, default=())
    return (name, *longest)


def is_allowed(name, full):
    """Whether a module may import another."""
    room = name.partition(".")[0]
    top, _, rest = full.partition(".")
    other = rest.partition(".")[0]
    if top == "mlx_probe" and other in LEVEL_OF and other != room:
        return LEVEL_OF[other] < LEVEL_OF[room]
    return name.startswith(ONLY_IN.get(top, (room,)))


# One test for all modules: two thousand tests of milliseconds take longer than what they do.
def test_imports_go_one_way():
    wrong = [
        f"{name} imports {full}"
        for name in filter(None, modules())
        for full in imported(name, ast.walk(tree(name)))
        if not is_allowed(name, full)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles():
    ready = set()

    def visit(name, path):
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in ready:
            for other in needed(name):
                visit(other, (*path, name))
            ready.add(name)

    for name in modules():
        visit(name, ())


def test_no_long_chain_of_imports():
    longest = max((chain(name) for name in modules()), key=len)
    assert len(longest) <= LONGEST_CHAIN, "\n".join(longest)


def test_nothing_lies_outside_the_rooms():
    loose = {name for name, path in modules().items() if path.parent == ROOT / "mlx_probe"}
    assert loose == {""}
    assert {name.partition(".")[0] for name in modules()} - {""} <= set(LEVEL_OF)


def test_files_are_small():
    package = {name: length(path) for name, path in modules().items()}
    beside = [path for folder in BESIDE for path in (ROOT / folder).rglob("*.py")]
    lengths = package | {str(path.relative_to(ROOT)): length(path) for path in beside}
    long = {name: count for name, count in lengths.items() if count > LONGEST_FILE}
    assert set(long) == set(LONG_TABLES), long
    assert 80 <= statistics.median(package.values()) <= 220


def test_main_path_is_about_a_screen():
    functions = [n for n in tree("analysis.stream").body if isinstance(n, ast.FunctionDef)]
    assert all(f.end_lineno - f.lineno < 70 for f in functions)


def test_all_names_what_the_module_has():
    found = pkgutil.walk_packages(mlx_probe.__path__, "mlx_probe.")
    for module in [importlib.import_module(each.name) for each in found]:
        missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
        assert not missing, f"{module.__name__} has no {', '.join(missing)}"


def test_tests_mirror_the_package():
    package = {path.relative_to(ROOT / "mlx_probe").parent for path in modules().values()}
    here = Path(__file__).parent
    folders = {path.relative_to(here).parent for path in here.rglob("test_*.py")}
    # What the referees judge goes across rooms.
    folders = {folder for folder in folders if folder.parts[:1] != ("referees",)}
    assert folders <= package | {Path("docs")}


def test_metric_names_are_unique_and_documented():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.column.description for metric in METRICS)
