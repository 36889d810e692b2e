"""The summary against WeightWatcher's, and its own numbers."""

import json

import numpy as np
import pytest
from models import arrays, copied, edit_meta, tiny, whole  # noqa: F401
from project import ROOT
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.analysis.summary import OWN, WEIGHTWATCHER, summary_of
from mlx_probe.runs.meta import read_meta

# get_summary() of WeightWatcher 0.7.7 of `watched`, by benchmarks/weightwatcher_analyze.py.
REFERENCE = ROOT / "tests" / "data" / "weightwatcher_summary.json"


def watched():
    """Matrices of many shapes, with heavy tails, and some that WeightWatcher leaves out."""
    rng = np.random.default_rng(16)
    shapes = [(64, 64), (40, 120), (200, 32), (24, 300), (96, 65), (7, 90), (2, 64)]
    return {
        f"model.layers.{n}.mlp.up_proj.weight": (
            0.05 * rng.standard_t(4, shape) * rng.lognormal(0, 0.5, (shape[0], 1))
        ).astype(np.float32)
        for n, shape in enumerate(shapes)
    }


def test_means_of_weightwatchers_names_are_weightwatchers(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", watched())
    summary = summary_of(mlx_probe.analyze(tmp_path, out=tmp_path / "out"))
    reference = json.loads(REFERENCE.read_text())
    assert set(reference) == set(WEIGHTWATCHER)
    for name, value in reference.items():
        assert summary[name] == pytest.approx(value, rel=1e-6), name
    assert summary["matrices"] == 5


def test_parameters_are_counted_once(whole):  # noqa: F811
    summary = summary_of(whole)
    parts = {name: n for name, n in summary["parameters"].items() if name != "total"}
    assert sum(parts.values()) == summary["parameters"]["total"]
    frame = whole.load()
    own = frame["alias_of"].isna() & frame["part"].isna()
    assert summary["parameters"]["total"] == frame.loc[own, "numel"].sum()
    assert parts["norm"] == 64


def test_means_of_our_own(whole):  # noqa: F811
    summary, frame = summary_of(whole), whole.load()
    frame = frame[frame["alias_of"].isna() & frame["part"].isna() & frame["rank"].notna()]
    short = frame[["rows", "cols"]].min(axis=1).astype(float)
    share = (frame["rank"].astype(float) / short).mean()
    assert summary["rank_share"] == pytest.approx(share)
    assert summary["rank_deficient"] == (frame["rank"].astype(float) < short).sum()
    assert summary["spectral_entropy"] == pytest.approx(frame["spectral_entropy"].mean())
    reliable = frame["alpha_reliable"].dropna().astype(float).mean()
    assert summary["reliable_share"] == pytest.approx(reliable)


def test_a_run_holds_its_summary(whole, copied):  # noqa: F811
    stored = read_meta(whole.meta_path)["summary"]
    assert stored == summary_of(whole.folder)
    assert set(stored) == {"parameters", "matrices", "rank_deficient", *WEIGHTWATCHER, *OWN}
    edit_meta(copied, lambda meta: meta.pop("summary"))
    assert summary_of(copied) == stored


def test_what_a_metric_set_lacks_is_null(tmp_path):
    from mlx_probe import AnalyzeConfig

    write_safetensors(tmp_path / "model.safetensors", watched())
    settings = AnalyzeConfig(metrics="basic")
    summary = summary_of(mlx_probe.analyze(tmp_path, out=tmp_path / "out", config=settings))
    assert all(summary[name] is None for name in WEIGHTWATCHER)
    assert summary["rank_share"] == 1
    assert summary["matrices"] == 0
