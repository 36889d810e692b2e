"""The command of a run: exact for a shell, without secrets, and into another folder."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.invocation import HIDDEN, invocation, invoked, without_secrets
from mlx_probe.library.reproduce.command import command_again, kept_variables, shell_line
from mlx_probe.runs import provenance
from mlx_probe.runs.experiments import Experiment


def made(*words, folder="/", run="/runs/a"):
    return Experiment(
        Path(run), Path(run, "run_meta.json"), "analyze", "", "finished", None, (), (), "", "",
        words, folder, {}, {},
    )  # fmt: skip


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(WORDS, min_size=1), st.dictionaries(st.sampled_from(["OMP_A", "MLX_B"]), WORDS))
def test_a_shell_reads_the_same_words(words, variables):
    line = shell_line(made("mlx-probe", *words, folder="/a b"), variables)
    said = shlex.split(line)
    assert said[:3] == ["cd", "/a b", "&&"]
    assert said[3 + len(variables) :] == ["mlx-probe", *words]
    assert dict(each.split("=", 1) for each in said[3 : 3 + len(variables)]) == variables


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["m"], ["m"]),
        (["m", "--out", "x"], ["m"]),
        (["m", "--out=x", "-q"], ["m", "-q"]),
        (["m", "--save-result", "r.json", "--report=p.html"], ["m"]),
        (["m", "--overwrite", "--no-resume", "--", "--out-of"], ["m", "--", "--out-of"]),
    ],
)
def test_it_writes_elsewhere(tmp_path, words, expected):
    run = made("mlx-probe", "analyze", *words, folder=str(tmp_path), run=str(tmp_path / "x"))
    again = command_again(run, {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "/evil.so"}, Path("/new"))
    assert list(again.arguments) == ["analyze", *expected, "--out", "/new"]
    # A library in a file that anybody can have written is not loaded.
    assert again.variables == {"OMP_NUM_THREADS": "2"}


def test_a_file_keeps_its_name(tmp_path):
    run = made("mlx-probe", "export", "m", "--out", "d/m.gguf", folder=str(tmp_path))
    assert command_again(run, None, Path("/new")).out == Path("/new/m.gguf")


def test_what_cannot_be_run(tmp_path):
    with pytest.raises(ResultError, match="does not say which command"):
        command_again(made(), {}, tmp_path)
    with pytest.raises(ConfigError, match="has a secret"):
        command_again(made("mlx-probe", "evaluate", "--api-key", HIDDEN), {}, tmp_path)
    with pytest.raises(ResultError, match="not there"):
        command_again(made("mlx-probe", "m", folder=str(tmp_path / "gone")), {}, tmp_path)


def test_only_variables_that_matter(monkeypatch):
    meta = {"variables": {"OMP_NUM_THREADS": "1", "HOME": "/", "MLX_A": 3, "MLX_X;rm": "1"}}
    assert kept_variables(meta) == {"OMP_NUM_THREADS": "1"}
    assert kept_variables({}) is None
    monkeypatch.setenv("MLX_PROBE_EVALUATE_API_KEY", "hush")
    monkeypatch.setenv("MLX_PROBE_ANALYZE_METRICS", "full")
    kept = provenance.variables()
    assert kept["MLX_PROBE_ANALYZE_METRICS"] == "full"
    assert "hush" not in kept.values()


@given(st.lists(st.sampled_from(["--token", "--api-key", "--header", "a", "b=c", "--token=x"])))
def test_secrets_are_hidden(words):
    shown = without_secrets(["--token", "secret-1", "--header=N=secret-2", *words])
    assert len(shown) == len(words) + 3
    assert not [word for word in shown if "secret" in word]


def test_the_command_of_now():
    with invoked(["analyze", "m"]):
        assert invocation() == ("mlx-probe", "analyze", "m")
        with invoked(["train"]):
            assert invocation() == ("mlx-probe", "train")
        assert invocation() == ("mlx-probe", "analyze", "m")
    assert invocation()[0] != "mlx-probe"


def test_names_that_are_no_text(tmp_path, monkeypatch):
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)  # noqa: PTH102  no `Path` has such a name
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLX_X", "\udcff")
    with invoked(["analyze", "\udcff"]):
        json.dumps(provenance.provenance(), ensure_ascii=False).encode()


def test_commit_of_the_work_tree(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit():
        provenance.code_commit.cache_clear()
        return provenance.code_commit()

    module = tmp_path / "mlx_probe" / "runs" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("1", "utf-8")
    monkeypatch.setattr(provenance, "__file__", str(module))
    try:
        assert commit() is None
        git("init", "-q")
        git("add", ".")
        git("commit", "-qm", "one")
        # As in a hook, which is of another work tree.
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
        first = commit()
        assert len(first) == 40
        module.write_text("2", "utf-8")
        assert commit() == f"{first}-dirty"
        monkeypatch.setenv("PATH", str(tmp_path))
        assert commit() is None
    finally:
        provenance.code_commit.cache_clear()
