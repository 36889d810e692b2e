"""A run of a later version's command is not taken for an analysis."""

import pytest
from made_runs import layers, store

import mlx_probe
from mlx_probe.core.errors import ResultError
from mlx_probe.report.run_data import load_run_data
from mlx_probe.runs.meta import read_run_meta


@pytest.mark.parametrize("kind", ["reindex", "", None])
@pytest.mark.parametrize(
    "use",
    [
        mlx_probe.findings,
        load_run_data,
        lambda run: mlx_probe.compare_runs([run]),
        lambda run: mlx_probe.query("select count(*) from params", runs=[run]),
    ],
    ids=["findings", "report", "compare-runs", "query"],
)
def test_a_kind_of_run_that_is_not_known_is_refused(tmp_path, use, kind):
    run = store(tmp_path / "run", layers(2), kind=kind)
    with pytest.raises(ResultError, match="which this version does not know"):
        use(run)


def test_old_metadata_name_no_kind(tmp_path):
    path = tmp_path / "run_meta.json"
    path.write_text("{}", "utf-8")
    assert read_run_meta(path) == {}
