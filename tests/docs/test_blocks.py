"""What the documentation tells to type works as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest
from pages import NAMES, page
from project import ROOT

from mlx_probe.cli import cli

# Pages whose blocks run, from top to end, in an empty folder.
RUN = ("README.md", "docs/en/quick-start.md", "docs/en/python-api.md")
COMMANDS = [
    (name, line.strip().removeprefix("$ "))
    for name in NAMES
    for language, text in page(name).blocks
    if language in ("bash", "console")
    for line in text.replace("\\\n", " ").splitlines()
    if re.search(r"(^|[ /])mlx-probe [a-z-]", line)
    and (language == "bash" or line.startswith("$ "))
    and not line.startswith("$ echo ")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names = {}
    ran = 0
    for language, text in page(name).blocks:
        if language == "bash":
            # `make` is for a checkout, not for this folder.
            lines = [line for line in text.splitlines() if not line.startswith("make ")]
            code = "\n".join(["set -e", *lines])
            done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stderr}"
            ran += 1
        elif language == "python":
            exec(compile(text, f"{name}: {text.splitlines()[0]}", "exec"), names)
            ran += 1
    assert ran, "the page has nothing to run"


def parsed(line):
    """The words of a command of ours in a line of a shell, without what surrounds it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&;()")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if words and re.fullmatch(r"[|<>&;()]+", word):
            break
        if words or Path(word).name == "mlx-probe":
            words.append(word)
    return words[1:]


@pytest.mark.parametrize(
    ("name", "line"), COMMANDS, ids=[f"{Path(name).stem}: {line}" for name, line in COMMANDS]
)
def test_a_command_line_is_understood(name, line, tmp_path, monkeypatch):
    arguments = parsed(line)
    # Files that a command opens at once lie in a checkout.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    ctx, command = click.Context(cli, info_name="mlx-probe"), cli
    while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
        command = command.commands[arguments[0]]
        ctx = click.Context(command, parent=ctx, info_name=arguments.pop(0))
    # `--help` and `--version` leave at once.
    with suppress(click.exceptions.Exit):
        command.make_context(ctx.info_name, arguments, parent=ctx.parent).close()
