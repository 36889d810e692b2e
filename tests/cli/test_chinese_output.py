"""What a Chinese reader sees: errors, help, terminals of 80 columns, other encodings."""

import os
import re
import subprocess

import pytest
from models import invoke
from terminal import Terminal
from tinymodel import COMMAND, run

from mlx_probe.cli.generated_docs import command_line_page, contexts
from mlx_probe.core.language import VARIABLE
from mlx_probe.report.terminal.wrapping import cells

CHINESE = {VARIABLE: "zh"}
WIDTH = 80
ERRORS = {
    "缺少参数 'MODEL'。": ("analyze",),
    "没有命令 'analyse'。": ("analyse",),
    "没有选项 '--metric'。": ("plan", "m", "--metric", "x"),
    "'--metrics' 的值无效：'most' 不是 'basic', 'standard', 'full' 之一。": (
        *("analyze", "m", "--metrics", "most"),
    ),
    "'--workers' 的值无效：'many' 不是有效的整数": ("analyze", "m", "--workers", "many"),
    "'--rank-tol' 的值无效：7.0 不在范围 1e-09<=x<1 内。": (*("analyze", "m", "--rank-tol", "7"),),
    "'--memory-limit' 的值无效：'much' 不是形如 600MB 或 1.5GiB 的大小": (
        *("analyze", "m", "--memory-limit", "much"),
    ),
    "选项 '--seed' 需要一个值。": ("analyze", "m", "--seed"),
    "选项 '--quiet' 不带值。": ("analyze", "m", "--quiet=1"),
    "多余的参数（b）": ("inspect", "a", "b"),
    "模型 'tinny' 不存在": ("inspect", "tinny"),
}


@pytest.mark.parametrize("says", ERRORS)
def test_a_refusal_is_chinese(says):
    result = invoke(*ERRORS[says], **CHINESE)
    assert result.exit_code == (1 if "tinny" in says else 2), result.output
    assert f"错误：{says}" in result.stderr
    assert "Error" not in result.stderr
    assert "Usage" not in result.stderr


def test_a_warning_without_a_log_is_chinese(tmp_path):
    """In a process of its own: pytest takes warnings before they reach standard error."""
    done = run("inspect", "a/b", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), **CHINESE)
    assert "a/b：Hub 没有响应（" in done.stderr
    assert "no answer" not in done.stderr


def test_without_arguments_it_helps():
    result = invoke(**CHINESE)
    assert "用法：" in result.output
    assert "测量" in result.output


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_line_of_help_is_wider_than_the_terminal(monkeypatch, language):
    monkeypatch.setenv(VARIABLE, language)
    for ctx in contexts():
        ctx.terminal_width = WIDTH
        lines = ctx.get_help().splitlines()
        wide = [line for line in lines if cells(line) > WIDTH and "mlx-probe " not in line]
        assert not wide, (ctx.command_path, wide)


def printed(*command):
    """What the command draws on a terminal, line by line, without colours."""
    terminal = Terminal(WIDTH, 60, COMMAND, *command)
    assert terminal.end() == 0, terminal.text
    bare = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", bare)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_80_columns_hold_every_line(monkeypatch, model, tmp_path, language):
    monkeypatch.setenv(VARIABLE, language)
    out = tmp_path / "out"
    for command, english, chinese in (
        (("inspect", model), "tensors", "张量"),
        (("plan", model), "estimated time", "预计时间"),
        (("analyze", model, "--metrics", "full", "--out", out), "limit: ", "限制因素："),
        (("findings", out), "Findings", "发现"),
        (("report", out, "--terminal"), "outliers", "离群："),
    ):
        lines = printed(*command)
        # The terminal breaks paths, so that they can be copied.
        wide = [line for line in lines if cells(line) > WIDTH and str(tmp_path) not in line]
        assert not wide, wide
        # A number without its end is a wrong one.
        assert not [line for line in lines if re.search(r"\d…", line)]
        heading = {"en": english, "zh": chinese}[language]
        assert any(heading in line for line in lines)


@pytest.mark.parametrize(
    ("encoding", "says"), [("ascii", "Usage: "), ("latin-1", "Usage: "), ("gbk", "用法：")]
)
def test_a_terminal_without_chinese_characters_gets_english(encoding, says):
    done = subprocess.run(
        [COMMAND, "--help"],
        capture_output=True,
        check=True,
        env={**os.environ, **CHINESE, "PYTHONIOENCODING": encoding},
    )
    assert done.stdout.decode(encoding).startswith(says)


def test_programs_read_english(model, tmp_path):
    """Tables, metadata, JSON and the version are the same in every language."""
    out = tmp_path / "out"
    assert invoke("analyze", model, "--out", out, "--quiet", **CHINESE).exit_code == 0
    written = [path for path in out.iterdir() if path.suffix in (".csv", ".json", ".log")]
    assert len(written) > 2
    for path in written:
        assert path.read_text("utf-8").isascii(), path
    assert invoke("--version", **CHINESE).output.startswith("mlx-probe, version ")
    assert invoke("inspect", model, "--json", **CHINESE).stdout.isascii()


def test_the_documentation_is_written_in_english(monkeypatch):
    monkeypatch.setenv(VARIABLE, "zh")
    assert not re.search("[\u4e00-\u9fff]", command_line_page())
