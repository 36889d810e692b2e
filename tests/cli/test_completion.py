"""Completion in shells: of commands, options, and members of tables."""

import subprocess
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from models import invoke
from tinymodel import COMMAND

from mlx_probe.cli import cli
from mlx_probe.cli.completion import SHELLS
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.records import METRIC_LEVELS
from mlx_probe.metrics import METRICS
from mlx_probe.runs.table import WRITERS
from mlx_probe.source.stores import STORES

VARIABLE = "_MLX_PROBE_COMPLETE"


def completed(*words):
    """What could follow, the last word being the one that is typed."""
    items = BashComplete(cli, {}, "mlx-probe", VARIABLE).get_completions([*words[:-1]], words[-1])
    return [item.value for item in items]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_what_click_prints_for_the_variable(shell):
    script = invoke("completion", shell)
    assert script.exit_code == 0, script.output
    assert VARIABLE in script.stdout
    by_variable = subprocess.run(
        [COMMAND], capture_output=True, text=True, check=True, env={VARIABLE: f"{shell}_source"}
    )
    assert script.stdout.strip() == by_variable.stdout.strip()


def test_commands_and_their_options():
    assert set(completed("")) == set(cli.commands)
    assert "--version" in completed("--")
    assert completed("catalog", "du") == ["duplicates"]
    assert "--memory-limit" in completed("analyze", "--m")


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (("analyze", "--format"), WRITERS),
        (("compare", "--format"), WRITERS),
        (("analyze", "--metrics"), METRIC_LEVELS),
        (("plan", "--backend"), ["auto", *BACKENDS]),
        (("catalog", "scan", "--store"), STORES),
        (("report", "--metric"), [metric.name for metric in METRICS]),
    ],
    ids=" ".join,
)
def test_members_of_tables(words, members):
    assert completed(*words, "") == list(members)


def test_a_wrong_option_before_breaks_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text("nonsense: 1")
    words = ("analyze", "--alert", "nonsense", "--config", str(tmp_path / "c.yaml"), "--spectrum")
    assert completed(*words, "ap") == ["approx"]


@pytest.mark.parametrize(
    "words", [("analyze", "./mod"), ("compare", "m"), ("verify", "m"), ("report", "data/o")]
)
def test_models_and_runs_are_completed_as_files(words):
    [item] = BashComplete(cli, {}, "mlx-probe", VARIABLE).get_completions([words[0]], words[1])
    assert (item.type, item.value) == ("file", words[1])


def test_a_real_bash():
    code = (
        f'PATH="{Path(COMMAND).parent}:$PATH"; eval "$(mlx-probe completion bash)"\n'
        "COMP_WORDS=(mlx-probe analyze --metrics st); COMP_CWORD=3\n"
        '_mlx_probe_completion mlx-probe; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["standard"]
    assert done.stderr == ""
