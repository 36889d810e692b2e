"""The example lines below each command's help."""

import shlex

import click
import pytest
from models import invoke

from mlx_probe.cli import cli
from mlx_probe.cli.command import DefaultGroup
from mlx_probe.cli.generated_docs import contexts

COMMANDS = {tuple(ctx.command_path.split()[1:]): ctx.command for ctx in contexts()}
LINES = [(path, line) for path, command in COMMANDS.items() for line in command.examples]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_ends_with_one_to_three_examples(path):
    examples = COMMANDS[path].examples
    assert 1 <= len(examples) <= 3
    said = invoke(*path, "--help", COLUMNS="60").stdout
    assert said.endswith("\nExamples:\n" + "".join(f"  {line}\n" for line in examples))
    assert len(set(examples)) == len(examples)


@pytest.mark.parametrize(("path", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_understood(path, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    assert len(line) <= 80
    if path == ("completion",):
        assert "mlx-probe completion " in line
        return
    assert words[0] == "mlx-probe"
    command, arguments = cli, words[1:]
    ctx = click.Context(cli, info_name="mlx-probe")
    while isinstance(command, click.Group):
        # The program's own examples are of its commands, and a group's of its subcommands.
        if isinstance(command, DefaultGroup):
            arguments = command.completed(arguments)
        command = command.commands[arguments[0]]
        ctx = click.Context(command, parent=ctx, info_name=arguments[0])
        arguments = arguments[1:]
    assert path == () or words[1] == path[0]
    command.make_context(ctx.info_name, arguments, parent=ctx.parent).close()
