"""Environment variables: spelled as the option is, or as older versions had them."""

import json

import click
import pytest
from models import invoke

from mlx_probe.cli.generated_docs import contexts

CONTEXTS = {tuple(ctx.command_path.split()[1:]): ctx for ctx in contexts()}
OPTIONS = [
    (path, option)
    for path, ctx in CONTEXTS.items()
    for option in ctx.command.params
    # The catalog's file has a variable of its own.
    if isinstance(option, click.Option) and path and option.name != "database"
]


@pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=[f"{' '.join(p)} {o.opts[0]}" for p, o in OPTIONS]
)
def test_every_option_has_the_variable_of_its_spelling(path, option, monkeypatch):
    prefix = "_".join(("MLX_PROBE", *path)).upper().replace("-", "_")
    names = {name[2:] for name in option.opts if name.startswith("--")} | {option.name}
    for name in names:
        variable = f"{prefix}_{name.replace('-', '_').upper()}"
        monkeypatch.setenv(variable, "x")
        assert option.resolve_envvar_value(CONTEXTS[path]) == "x", variable
        monkeypatch.delenv(variable)


def test_the_catalog_keeps_its_variable(monkeypatch):
    [option] = CONTEXTS["catalog",].command.params
    monkeypatch.setenv("MLX_PROBE_CATALOG", "there")
    assert option.resolve_envvar_value(CONTEXTS["catalog",]) == "there"


@pytest.mark.parametrize(
    ("variables", "written"),
    [
        ({"FORMAT": "jsonl"}, "jsonl"),
        ({"FORMATS": "jsonl"}, "jsonl"),
        ({"FORMAT": "parquet", "FORMATS": "jsonl"}, "parquet"),
    ],
)
def test_a_run_follows_either_spelling(tiny, tmp_path, variables, written):
    environment = {f"MLX_PROBE_ANALYZE_{name}": value for name, value in variables.items()}
    result = invoke("analyze", tiny, "--out", tmp_path / "out", "-q", **environment)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / f"params.{written}").exists()


def test_an_option_wins_over_both_spellings(tiny, tmp_path):
    variables = {"MLX_PROBE_ANALYZE_FORMAT": "jsonl", "MLX_PROBE_ANALYZE_FORMATS": "parquet"}
    out = tmp_path / "out"
    result = invoke("analyze", tiny, "--out", out, "--format", "csv", "-q", **variables)
    assert result.exit_code == 0, result.output
    meta = json.loads((out / "run_meta.json").read_text("utf-8"))
    assert list(meta["outputs"]) == ["params.csv", "spectra.parquet"]


def test_json_from_the_environment(tiny):
    result = invoke("plan", tiny, MLX_PROBE_PLAN_JSON="1")
    assert json.loads(result.stdout)
