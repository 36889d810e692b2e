import dataclasses

import pytest
from models import invoke

import mlx_probe
from mlx_probe import AnalyzeConfig, CompareConfig
from mlx_probe.analysis.settings import with_settings
from mlx_probe.core.errors import ConfigError


def settings_of(config, **settings):
    return with_settings(config, settings, mlx_probe.analyze, "analyze")


def test_keywords_win_over_the_configuration():
    before = AnalyzeConfig(metrics="basic", workers=2)
    assert settings_of(before, metrics="full") == AnalyzeConfig(metrics="full", workers=2)
    assert settings_of(before) is before


@pytest.mark.parametrize("globs", ["*attn*", ["*attn*"], ("*attn*",), iter(["*attn*"])])
def test_one_glob_and_lists_become_tuples(globs):
    assert settings_of(AnalyzeConfig(), include=globs).include == ("*attn*",)


@pytest.mark.parametrize("kind", [AnalyzeConfig, CompareConfig])
def test_every_field_is_a_keyword(kind):
    values = {field.name: getattr(kind(), field.name) for field in dataclasses.fields(kind)}
    assert settings_of(kind(), **values) == kind()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mlx_probe.analyze("m", metric="full"), "Did you mean metrics"),
        (lambda: mlx_probe.analyze("m", output="a"), "Did you mean out"),
        (lambda: mlx_probe.plan("m", memory=1), "Did you mean memory_limit"),
        (lambda: mlx_probe.compare("a", "b", direction=1), "Did you mean directions"),
        (lambda: mlx_probe.plan("m", zzz=1), "plan takes no argument 'zzz'\n  It takes model, "),
    ],
)
def test_an_unknown_keyword_is_refused_before_anything_is_done(call, says):
    with pytest.raises(ConfigError, match=says):
        call()


def test_a_wrong_value_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="metrics cannot be 'all'"):
        mlx_probe.analyze(model, out=tmp_path / "out", metrics="all")


@pytest.mark.parametrize("name", ["memory_limit", "workers", "rank_tol"])
def test_what_is_no_number_is_refused_by_the_name_of_the_setting(model, tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name} cannot be 'lots'"):
        mlx_probe.analyze(model, out=tmp_path / "out", **{name: "lots"})
    with pytest.raises(ConfigError, match=f"{name} cannot be None"):
        mlx_probe.compare(model, model, out=tmp_path / "out", **{name: None})


@pytest.mark.parametrize("read", [mlx_probe.findings, mlx_probe.summary, mlx_probe.load_run])
def test_what_cannot_be_a_run_is_refused(read):
    with pytest.raises(ConfigError, match="a run cannot be None"):
        read(None)


def test_an_analysis_by_keywords_is_that_of_the_command(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "a", metrics="basic", include="*q_proj*")
    assert run.meta["configuration"]["metrics"] == "basic"
    assert run.load().param_name.tolist() == ["model.layers.0.self_attn.q_proj.weight"]
    options = ("--metrics", "basic", "--include", "*q_proj*", "--out", tmp_path / "b", "--quiet")
    assert invoke("analyze", model, *options).exit_code == 0
    other = mlx_probe.load_run(tmp_path / "b").attrs["meta"]
    # The default limit is a share of what is free just then.
    own = mlx_probe.load_run(run).attrs["meta"]
    for configuration in (other["configuration"], own["configuration"]):
        del configuration["memory_limit"]
    assert other["configuration"] == own["configuration"]


def test_nothing_is_printed(model, tmp_path, capfd):
    run = mlx_probe.analyze(model, out=tmp_path / "a", metrics="basic")
    mlx_probe.compare(model, model, out=tmp_path / "b")
    mlx_probe.plan(model, metrics="basic")
    mlx_probe.validate(run)
    assert capfd.readouterr() == ("", "")
