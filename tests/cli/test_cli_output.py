"""What the commands print, where, and that nothing from a file can do harm there."""

import io
import json
import os
import pkgutil
import platform
from importlib import import_module

import click
import numpy as np
import pyarrow as pa
import pytest
from models import interrupt_after, invoke, refuses
from rich.console import Console
from tinymodel import run
from weightfiles import entry, safetensors_bytes, write_safetensors

import mlx_probe
import mlx_probe.cli as cli_package
from mlx_probe.analysis.progress import Silent
from mlx_probe.cli import GROUPS, cli, progress
from mlx_probe.cli.bar import Bar
from mlx_probe.compute.backends import choose_backend
from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.text import (
    checkpoint_text,
    checks_text,
    printable,
    summary_table,
)
from mlx_probe.runs.check import Check

EVIL = "[bold]x[/] [/nonsense] \x1b[2J\x07\u202e\r[link=http://a]"
COMMANDS = (None, *cli.commands)


def text_of(renderable, width=300):
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(renderable)
    return file.getvalue()


def words(text):
    return " ".join(text.split())


def harmless(text):
    return not {c for c in text if not c.isprintable() and c != "\n"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_every_option(name):
    command = cli.commands[name] if name else cli
    result = invoke(*([name] if name else []), "--help", COLUMNS="100")
    assert result.exit_code == 0
    said = words(result.output)
    assert words(command.help).split(".")[0] in said
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            # The name in capitals, or what stands for it.
            assert (parameter.metavar or parameter.name.upper()) in said
            continue
        assert parameter.opts[0] in said
        assert all(option in said for option in parameter.secondary_opts)
        assert words(parameter.help) in said
    assert harmless(result.output)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_short_form(name):
    arguments = [name] if name else []
    assert invoke(*arguments, "-h").output == invoke(*arguments, "--help").output


def test_help_lists_every_command_in_its_group_with_its_purpose():
    said = invoke("--help").output
    for title, commands in GROUPS.items():
        listed = said.split(f"\n{title}:\n")[1].split("\n\n")[0]
        assert words(listed) == words(" ".join(f"{n} {text}" for n, text in commands.items()))
    names = [module.name for module in pkgutil.iter_modules(cli_package.__path__)]
    modules = {name: import_module(f"mlx_probe.cli.{name}") for name in names}
    commands = {n for n, m in modules.items() if isinstance(getattr(m, n, None), click.Command)}
    # `plan train` and `plan run` are reached through `plan MODEL`.
    assert {name.replace("-", "_") for name in cli.commands} | {
        "plan_run",
        "plan_train",
    } == commands


def test_a_version_begins_as_scripts_know_it_and_names_python_and_backend():
    said = invoke("--version").output
    begin = f"mlx-probe, version {mlx_probe.__version__} (Python {platform.python_version()}, "
    assert said.startswith(begin)
    assert choose_backend("auto", "auto")[1] in said
    assert said.count("\n") == 1


def test_a_version_without_a_backend_is_one_message(monkeypatch):
    def refuse(name, device):
        raise ConfigError("no such library", "Unset the variable")

    monkeypatch.setattr("mlx_probe.compute.backends.choose_backend", refuse)
    refuses(invoke("--version"), "no such library", code=2)


@pytest.mark.parametrize("formats", [["csv"], ["parquet", "jsonl"]])
def test_a_dry_run_prints_the_plan_and_writes_nothing(tiny, tmp_path, formats):
    out = tmp_path / "out"
    options = [argument for name in formats for argument in ("--format", name)]
    result = invoke(
        "analyze", tiny, "--out", out, "--dry-run", "--workers", 3, *options, COLUMNS="300"
    )
    assert result.exit_code == 0, result.output
    shown = [line for line in result.stdout.splitlines() if line.strip() and line[0] != " "]
    lines = dict(line.split("  ", 1) for line in shown)
    lines = {name: text.strip() for name, text in lines.items()}
    assert lines["goal"] == "standard metrics of 17 weights, 11 spectra"
    assert lines["model"].startswith("tiny at local (safetensors), ")
    assert lines["inputs"] == str(tiny / "model.safetensors")
    assert lines["steps"].startswith("1. map 1 file(s), 3 weight(s) in flight")
    assert lines["outputs"] == str(out / f"params.{formats[0]}")
    for name in formats:
        assert str(out / f"params.{name}") in result.stdout
    assert str(out / "run_meta.json") in result.stdout
    assert "5 weights recomputed in float64 (seed 0)" in result.stdout
    assert lines["to read"].endswith("kB")
    assert " for model.layers.0.mlp.gate_proj.weight" in lines["memory limit"]
    assert {"peak memory", "backend", "estimated time"} <= set(lines)
    assert lines["verdict"] == "fits"
    assert float(lines["estimated time"].split()[0]) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_the_run_would_refuse(tiny):
    assert invoke("analyze", tiny, "--dry-run", "--include", "none").exit_code == 2


def test_inspect_prints_shapes_types_and_parameters(tiny, arrays):
    result = invoke("inspect", tiny, COLUMNS="200")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: words(line) for line in result.stdout.splitlines() if line.strip()}
    for name, (stored, dtype) in arrays.items():
        shape = " x ".join(map(str, stored.shape)) or "scalar"
        assert f" {dtype} {shape} " in lines[name]
    parameters = sum(stored.size for stored, _ in arrays.values())
    assert lines["parameters"] == f"parameters {parameters:,}"
    assert "1 BOOL" in lines["tensors"]
    assert lines["tensors"].startswith("tensors 15 ")


def test_inspect_reads_no_weight(tmp_path, monkeypatch):
    def touch(*_):
        raise AssertionError("mapped")

    path = tmp_path / "huge.safetensors"
    size = 10 * 2**30
    path.write_bytes(safetensors_bytes({"w": entry("BF16", [2**20, 5 * 2**10], 0, size)}))
    os.truncate(path, path.stat().st_size + size)
    monkeypatch.setattr("mlx_probe.checkpoint.mapping.MappedFile.map", touch)
    result = invoke("inspect", path, COLUMNS="150")
    assert result.exit_code == 0, result.exception
    assert "5,368,709,120" in result.stdout
    assert "1048576 x 5120" in result.stdout


def test_inspect_lists_what_is_skipped(tmp_path):
    path = tmp_path / "model.safetensors"
    header = {"w": entry("F4", [2, 4], 0, 4), "v": entry("F32", [2], 4, 12)}
    path.write_bytes(safetensors_bytes(header, bytes(12)))
    result = invoke("inspect", path, COLUMNS="200")
    assert "F4 (skipped)" in result.stdout
    assert "1 tensor, 4 bytes (33.3% of all) 1: w: dtype F4 is not supported" in words(
        result.stdout
    )


def test_a_run_ends_with_a_summary_and_the_files(tiny, tmp_path):
    out = tmp_path / "out"
    result = invoke("analyze", tiny, "--out", out, "--format", "jsonl", COLUMNS="300")
    assert result.exit_code == 0, result.output
    said = words(result.stdout)
    for block in mlx_probe.load_run(out).block_type.unique():
        assert f" {block[:12]}" in said
    assert "17 rows (14 ok, 1 nonfinite, 1 empty, 1 scalar) in " in said
    files = ("params.jsonl", "spectra.parquet", "run_meta.json")
    assert result.stdout.endswith("".join(f"  {out / name}\n" for name in files))


def test_quiet_prints_nothing(tiny, tmp_path):
    result = run("analyze", tiny, "--out", tmp_path, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_standard_error_has_plain_lines_where_there_is_no_terminal(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    result = invoke("analyze", tiny, "--out", tmp_path, "--workers", 1)
    first, *lines = result.stderr.splitlines()
    assert first.endswith("; 17 weights")
    assert len(lines) == 17
    assert lines[-1].startswith("100%, ")
    assert all("GB/s, process " in line and " s left, " in line for line in lines)
    shares = [int(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares)
    assert harmless(result.stderr)


def test_lines_are_rare(tiny, tmp_path):
    assert len(invoke("analyze", tiny, "--out", tmp_path).stderr.splitlines()) == 1


def test_a_resumed_run_says_so(tiny, tmp_path, monkeypatch):
    # Otherwise the tiny weights, most of this model, finish together.
    monkeypatch.setattr("mlx_probe.analysis.order.TINY_TOGETHER", 1)
    with pytest.raises(Interrupted):
        mlx_probe.analyze(tiny, out=tmp_path, progress=interrupt_after(6))
    result = invoke("analyze", tiny, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("; 17 weights, 6 rows are there already\n")


def test_no_resume_takes_no_row_of_before(tiny, tmp_path):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(tiny, out=tmp_path, progress=interrupt_after(6))
    result = invoke("analyze", tiny, "--out", tmp_path, "--no-resume")
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("; 17 weights\n")


@pytest.fixture
def evil(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"{EVIL}{i}": rng.standard_normal((8, 8)).astype(np.float32) for i in range(3)}
    folder = tmp_path / "evil [red]model"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", arrays)
    return folder


def test_names_from_files_print_harmlessly(evil, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    out = tmp_path / "out"
    results = [
        invoke("analyze", evil, "--dry-run", COLUMNS="400"),
        invoke("inspect", evil, COLUMNS="400"),
        invoke("analyze", evil, "--out", out, COLUMNS="400"),
        invoke("validate", out, COLUMNS="400"),
        invoke("analyze", evil, "--include", "none"),
    ]
    assert [result.exit_code for result in results] == [0, 0, 0, 0, 2]
    for result in results:
        assert harmless(result.stdout), result.stdout
        assert harmless(result.stderr), result.stderr
    assert "[bold]x[/]" in results[1].stdout
    assert "evil [red]model" in results[2].stdout
    assert "[bold]x[/]" in results[2].stderr
    assert "[bold]x[/]" in results[3].stdout
    # The table has them as they are.
    assert list(mlx_probe.load_run(out).param_name) == [f"{EVIL}{i}" for i in range(3)]


def test_the_bar_takes_names_from_files(evil, tmp_path):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=300)
    mlx_probe.analyze(evil, out=tmp_path / "out", progress=Bar(console))
    shown = file.getvalue()
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_watchers_suit_the_place(monkeypatch):
    assert isinstance(progress.watch(quiet=True), Silent)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(progress.watch(quiet=False), Bar)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    assert isinstance(progress.watch(quiet=False), progress._Lines)


def test_checks_and_summaries_take_any_text():
    shown = text_of(checks_text([Check(EVIL, True, EVIL), Check("b", False, EVIL)]))
    assert harmless(shown)
    assert shown.count("[bold]x[/]") == 3
    assert [line.split()[0] for line in shown.splitlines()] == ["ok", "failed"]
    row = {"block_type": EVIL[:12], "rank": None, "rows": None, "cols": None, "numel": 1}
    assert harmless(text_of(summary_table(pa.Table.from_pylist([row]), EVIL)))


def test_printable_is_one_line_and_plain_keeps_lines():
    assert printable("a\nb") == "a\\nb"
    assert plain("a\nb\x00") == "a\nb\\x00"
    assert printable("größe 漢字") == "größe 漢字"


def test_medians_and_counts_of_the_summary():
    def row(block, rank, std, numel):
        sizes = {"rows": 10, "cols": 20, "numel": numel, "sparsity": 0.25}
        return {"block_type": block, "rank": rank, "std": std, **sizes}

    rows = [row("q_proj", 10, 1.0, 10**9), row("norm", None, None, 5), row("q_proj", 5, 3.0, 10**9)]
    shown = text_of(summary_table(pa.Table.from_pylist(rows), "title"))
    lines = [words(line) for line in shown.splitlines()]
    assert "q_proj 2 2 B 0.750 - - 2 25.00%" in lines
    assert "norm 1 5 - - - - 25.00%" in lines
    assert lines.index("q_proj 2 2 B 0.750 - - 2 25.00%") < lines.index("norm 1 5 - - - - 25.00%")


def test_a_checkpoint_without_tensors_has_a_text(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes({}))
    with mlx_probe.open_checkpoint(path) as checkpoint:
        assert "parameters" in text_of(checkpoint_text(checkpoint))
    assert invoke("analyze", path).exit_code == 2


def test_the_command_line_is_in_the_metadata(tiny, tmp_path):
    run("analyze", tiny, "--out", tmp_path, "--quiet", "--seed", "4")
    command = json.loads((tmp_path / "run_meta.json").read_text("utf-8"))["command"]
    assert command[1:] == ["analyze", str(tiny), "--out", str(tmp_path), "--quiet", "--seed", "4"]
