"""`mlx-probe explain`."""

import json

import pytest
from click.testing import CliRunner

import mlx_probe
from mlx_probe.cli import cli


def explained(*arguments, **variables):
    result = CliRunner().invoke(cli, ["explain", *arguments], env={"COLUMNS": "80", **variables})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "out"
    return str(mlx_probe.analyze(str(tiny), out=folder).folder)


def test_names_are_explained_in_80_columns():
    text = explained("alpha", "rank")
    for word in ("Power-law exponent", "formula", "caution", "table params", "table heads"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
    # What both tables say alike is said once.
    assert text.count("How many independent directions") == 1


def test_without_a_name_all_columns_are_listed():
    text = explained()
    for table in ("params", "heads", "experts", "compare", "monitor"):
        assert f"table {table}\n" in text
    assert text.count("  Moments\n") == 1
    assert "    stable_rank                 Stable rank\n" in text


def test_a_run_lies_beside_the_typical_range(run):
    text = explained("stable_rank", "block_type", "alpha_reliable", "nan_count", "--run", run)
    assert "the range of the trained models" in text
    assert "of them are true" in text
    assert "q_proj" in text


def test_chinese_lines_hold_80_columns(run):
    from rich.cells import cell_len

    text = explained("alpha", "rank", "stable_rank", "--run", run, MLX_PROBE_LANG="zh")
    assert "幂律指数" in text
    paths = [line for line in text.splitlines() if run in line]
    assert max(cell_len(line) for line in text.splitlines() if line not in paths) <= 80


def test_json_is_english_whatever_the_language(run):
    (alpha,) = json.loads(explained("alpha", "--json", "--run", run, MLX_PROBE_LANG="zh"))
    assert alpha["title"] == "Power-law exponent"
    assert alpha["ranges"]["gaussian"]["low"] > 1
    assert alpha["run"]["table"] == "params"
    assert {"low", "median", "high"} == set(alpha["run"]["values"])
    every = json.loads(explained("--json"))
    assert {entry["table"] for entry in every} == {
        "params", "heads", "experts", "compare", "adapter", "tokens", "monitor"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alpa"], "Near names: alpha"),
        (["--run", "somewhere"], "--run needs the NAME of a column"),
        (["alpha", "--run", "/nowhere"], "/nowhere"),
    ],
)
def test_refusals_say_what_to_do(arguments, words):
    result = CliRunner().invoke(cli, ["explain", *arguments])
    assert result.exit_code in (1, 2)
    assert words in result.stderr
