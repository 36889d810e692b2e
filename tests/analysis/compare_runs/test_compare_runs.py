import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import CONFIGURATION, layers, matrix, store, vector
from models import write_single
from project import DATA
from tinymodel import weights

from mlx_probe import AnalyzeConfig, analyze
from mlx_probe.analysis.compare_runs import BY, Group, compare_runs
from mlx_probe.core.errors import ConfigError, ResultError

ATTENTION = Group("component", "attention")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Runs of models of 1 to 12 layers."""
    folder = tmp_path_factory.mktemp("stored")
    return [store(folder / f"m{n}", layers(n, seed=n), f"owner/m{n}") for n in (1, 2, 5, 12)]


def numbers(run):
    return run.label, dict(run.values), run.profiles


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None
)
@given(order=st.permutations(range(4)), ascending=st.booleans(), bins=st.integers(1, 20))
def test_the_order_of_the_runs_does_not_matter(stored, order, ascending, bins):
    settings = {"ascending": ascending, "bins": bins, "by": BY, "metrics": ["std"]}
    plain = compare_runs(stored, **settings)
    shuffled = compare_runs([stored[at] for at in order], **settings)
    assert list(map(numbers, plain.runs)) == list(map(numbers, shuffled.runs))
    values = [run.values["std"] for run in plain.runs]
    assert values == sorted(values, reverse=not ascending)


@pytest.mark.parametrize("bins", [1, 3, 10])
def test_a_run_against_itself_has_the_ratio_1_everywhere(stored, tmp_path, bins):
    for number, run in enumerate(stored):
        copy = shutil.copytree(run, tmp_path / f"copy{number}")
        table = compare_runs([run, copy], relative=True, bins=bins, by=BY)
        assert table.reference == str(run / "run_meta.json")
        for each in table.runs:
            assert set(each.values.values()) == {1.0}
            known = [
                value
                for lines in each.profiles.values()
                for line in lines.values()
                for value in line
                if value is not None
            ]
            assert known
            assert set(known) == {1.0}


def test_ratios_are_to_the_first_that_can_be_read(stored, tmp_path):
    table = compare_runs([tmp_path, stored[1], stored[0]], metrics=["std"], relative=True)
    plain = compare_runs([stored[1], stored[0]], metrics=["std"])
    by_label = {run.label: run.values["std"] for run in plain.runs}
    assert {run.label: run.values.get("std") for run in table.readable} == {
        "owner/m2": 1.0,
        "owner/m1": by_label["owner/m1"] / by_label["owner/m2"],
    }


def test_numbers_are_medians_over_each_matrix_once(tmp_path):
    rows = [
        matrix(0, "qkv_proj", name="fused", std=100.0),
        *(
            matrix(0, block, name="fused", part=block, std=std)
            for block, std in (("q_proj", 1.0), ("k_proj", 2.0), ("v_proj", 3.0))
        ),
        matrix(None, "embedding", "embedding", std=10.0),
        matrix(None, "lm_head", "output", std=50.0, alias_of="model.embedding.weight"),
        vector(0, std=70.0),
    ]
    table = compare_runs([store(tmp_path / "a", rows)], metrics=["std"], by=BY, bins=1)
    (run,) = table.runs
    assert run.values["std"] == 2.5  # 1, 2, 3 of the parts and 10 of the embedding
    assert run.profiles["std"] == {
        Group("all", "layers"): (2.0,),
        ATTENTION: (2.0,),
        Group("block_type", "q_proj"): (1.0,),
        Group("block_type", "k_proj"): (2.0,),
        Group("block_type", "v_proj"): (3.0,),
        Group("block_type", "q_proj bias"): (70.0,),
    }


def test_a_buffer_of_two_dimensions_is_no_matrix(tmp_path):
    rows = [matrix(layer, std=1.0) for layer in range(2)]
    positions = [
        matrix(layer, "buffer", "attention", name=f"{layer}.mask", std=100.0) for layer in range(3)
    ]
    folder = store(tmp_path / "a", [*rows, *positions])
    table = compare_runs([folder], metrics=["std"], by=["all", "component"], bins=1)
    assert table.runs[0].values["std"] == 1.0
    assert set(table.runs[0].profiles["std"].values()) == {(1.0,)}


def test_towers_have_layers_of_their_own(tmp_path):
    rows = [matrix(layer, std=1.0 + layer) for layer in range(3)]
    rows += [matrix(at, "v_proj", "vision", name=f"v.{at}", std=10.0 + at) for at in range(2)]
    table = compare_runs([store(tmp_path / "a", rows)], metrics=["std"], by=BY, bins=3)
    profiles = table.runs[0].profiles["std"]
    assert profiles[Group("component", "vision")] == (10.0, None, 11.0)
    assert profiles[Group("all", "layers")] == profiles[ATTENTION] == (1.0, 2.0, 3.0)


def test_a_selection_of_layers_keeps_their_place(tmp_path):
    run = store(tmp_path / "a", [matrix(0, std=1.0)], architecture={"layers": 4})
    table = compare_runs([run], metrics=["std"], bins=4)
    assert table.runs[0].layers == 4
    assert table.runs[0].profiles["std"][ATTENTION] == (1.0, None, None, None)


@pytest.mark.parametrize(
    ("change", "setting", "marked"),
    [
        ({"rank_tol": 1e-5}, "rank_tol", ["rank"]),
        ({"zero_epsilon": 0}, "zero_epsilon", ["sparsity"]),
        ({"spectrum": "approx"}, "spectrum", ["alpha", "alpha_low", "rank", "stable_rank"]),
        ({"seed": 7}, "seed", ["alpha_low"]),
        ({"metrics": "full"}, "metrics", []),
        ({"include": ["*q_proj*"]}, "include", None),
        ({"exclude": ["*norm*"]}, "exclude", None),
    ],
)
def test_settings_that_differ_are_marked(tmp_path, change, setting, marked):
    names = ["alpha", "alpha_low", "rank", "sparsity", "stable_rank", "std"]
    runs = [store(tmp_path / name, layers(2), f"owner/{name}") for name in "ab"]
    other = {**CONFIGURATION, **change}
    runs.append(store(tmp_path / "c", layers(2), "owner/c", configuration=other))
    table = compare_runs(runs, metrics=names)
    (difference,) = table.differences
    assert difference.setting == setting
    assert [labels for _, labels in difference.values] == [("owner/a", "owner/b"), ("owner/c",)]
    assert list(difference.metrics) == (names if marked is None else marked)
    assert {m.name: m.marked_by for m in table.metrics if m.marked_by} == dict.fromkeys(
        difference.metrics, (setting,)
    )
    assert {run.label: run.differs for run in table.runs} == {
        "owner/a": (),
        "owner/b": (),
        "owner/c": (setting,),
    }


def test_numbers_of_a_summary_are_marked_by_the_column_behind_them(tmp_path):
    a = store(tmp_path / "a", layers(2), "owner/a")
    other = {**CONFIGURATION, "rank_tol": 1e-5}
    b = store(tmp_path / "b", layers(2), "owner/b", configuration=other)
    names = ["rank_share", "mean_stable_rank", "parameters"]
    marked = {m.name for m in compare_runs([a, b], metrics=names).metrics if m.marked_by}
    assert marked == {"rank_share"}


def test_versions_and_kernels_are_settings_too(tmp_path):
    old = store(tmp_path / "a", layers(2), "owner/a", code_version="0.0.1")
    used = {"kernels": {"eigen": "used", "elements": "not built"}}
    new = store(tmp_path / "b", layers(2), "owner/b", environment=used)
    version, kernels = compare_runs([old, new], metrics=["std"]).differences
    assert (version.setting, version.metrics) == ("code_version", ("std",))
    assert (kernels.setting, kernels.metrics) == ("kernels", ())
    assert dict(kernels.values) == {"eigen": ("owner/b",), "unknown": ("owner/a",)}


def test_numbers_of_summaries_have_names_of_their_own(tmp_path):
    parameters = {"total": 12, "attention": 8}
    a = store(tmp_path / "a", layers(2), "owner/a", summary={"stable_rank": 3.5, "log_norm": 2.0})
    b = store(tmp_path / "b", layers(2), "owner/b", summary={"parameters": parameters, "x": "y"})
    names = ["parameters", "parameters_attention", "mean_stable_rank", "log_norm", "stable_rank"]
    table = compare_runs([a, b], metrics=names)
    assert [m.source for m in table.metrics] == ["summary"] * 4 + ["median"]
    values = {run.label: list(run.values.values())[:4] for run in table.runs}
    assert values == {"owner/a": [None, None, 3.5, 2.0], "owner/b": [12, 8, None, None]}
    assert all(run.values["stable_rank"] not in (None, 3.5) for run in table.runs)


def test_the_summary_of_an_older_run_is_computed(tmp_path, rng):
    model = write_single(tmp_path / "model", weights(rng))
    run = analyze(model, out=tmp_path / "new", config=AnalyzeConfig(backend="numpy"))
    old = shutil.copytree(run.folder, tmp_path / "old")
    assert run.meta["summary"]["parameters"]["total"] > 0
    change_meta(summary=...)(old)
    names = ["parameters", "parameters_attention", "mean_stable_rank", "rank_share", "alpha"]
    first, second = compare_runs([run.folder, old], metrics=names).runs
    assert first.values == second.values
    assert first.values["rank_share"] == run.meta["summary"]["rank_share"]
    known = {m.name for m in compare_runs([old], metrics=["all"]).metrics}
    assert known == {m.name for m in compare_runs([run.folder], metrics=["all"]).metrics}


def test_all_metrics_are_those_of_any_run(tmp_path):
    a = store(tmp_path / "a", layers(2), summary={"parameters": 12})
    names = [metric.name for metric in compare_runs([a], metrics=["all"], sort="std").metrics]
    assert {"parameters", "std", "stable_rank", "numel"} <= set(names)
    # Neither what numbers something, nor what has no number.
    assert not {"layer_index", "read_seconds", "alpha_reliable", "dtype", "alpha"} & set(names)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_table(tmp_path, form):
    rows = layers(3)
    plain = compare_runs([store(tmp_path / "a", rows)], metrics=["std", "stable_rank"])
    other = compare_runs([store(tmp_path / "b", rows, form=form)], metrics=["std", "stable_rank"])
    assert list(map(numbers, plain.runs)) == list(map(numbers, other.runs))


def test_runs_of_one_model_are_told_apart(tmp_path):
    runs = [store(tmp_path / part / "run", layers(2)) for part in "ab"]
    runs += [store(tmp_path / "third", layers(2))]
    labels = [run.label for run in compare_runs(runs).runs]
    assert set(labels) == {"owner/tiny (third)", *map(str, runs[:2])}


def test_the_order_of_names_and_of_time(tmp_path):
    days = {"step-2": 3, "step-10": 1, "step-1": 2}
    runs = [
        store(tmp_path / name, layers(2), f"o/{name}", created_at=f"2026-01-0{day}T08:00:00+00:00")
        for name, day in days.items()
    ]

    def order(**options):
        return [run.label[2:] for run in compare_runs(runs, **options).runs]

    assert order(sort="run") == ["step-1", "step-2", "step-10"]
    assert order(sort="run", ascending=False) == ["step-10", "step-2", "step-1"]
    assert order(sort="created_at") == ["step-10", "step-1", "step-2"]
    assert order(sort="std") == ["step-1", "step-2", "step-10"]  # all equal


def test_one_run_needs_no_list_and_none_is_refused(stored):
    assert compare_runs(stored[0]).runs == compare_runs([stored[0]]).runs
    with pytest.raises(ConfigError, match="no run is named"):
        compare_runs([])


def test_a_run_named_twice_is_listed_once(stored, tmp_path):
    (tmp_path / "latest").symlink_to(stored[0])
    table = compare_runs([stored[0], stored[0] / "run_meta.json", tmp_path / "latest"])
    assert len(table.runs) == 1


def spoil_unfinished(folder):
    (folder / "run_meta.json").unlink()
    (folder / "params.0123456789ab.partial.jsonl").write_text("{}\n")


def spoil_size(folder):
    with (folder / "params.parquet").open("ab") as file:
        file.write(b" ")


def spoil_meta(folder):
    (folder / "run_meta.json").write_text("{")


def change_meta(**changes):
    def spoil(folder):
        path = folder / "run_meta.json"
        meta = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in meta.items() if v is not ...}))

    return spoil


OLD = [{"name": "param_name", "type": "string"}, {"name": "std", "type": "float64"}]


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (spoil_unfinished, "is not finished", "again"),
        (spoil_size, "bytes instead of", "Restore the file"),
        (spoil_meta, "cannot read", "Restore the file"),
        (shutil.rmtree, "does not exist", "Check the path"),
        (change_meta(kind="later"), "is of the kind 'later'", "Update mlx-probe"),
        (change_meta(kind="merge"), "is of `mlx-probe merge`", "runs show"),
        (change_meta(kind="compare"), "is a comparison of two models", "mlx-probe analyze"),
        (change_meta(columns=OLD), "no layer_index, component, block_type, rows", "this version"),
        (change_meta(columns=[3]), "does not describe a run", "this version"),
        (change_meta(model=[]), "does not describe a run", "this version"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_run_that_cannot_be_read_has_its_line(stored, tmp_path, spoil, reason, remedy):
    bad = store(tmp_path / "bad", layers(2))
    spoil(bad)
    table = compare_runs([bad, *stored])
    assert len(table.readable) == 4
    last = table.runs[-1]
    assert reason in last.problem
    assert remedy in last.remedy
    assert str(bad) in last.problem
    with pytest.raises(ResultError, match="none of the runs can be read"):
        compare_runs([bad])


def test_metadata_of_any_form_is_no_crash(tmp_path):
    strange = store(
        tmp_path / "a",
        layers(2),
        configuration=[1],
        environment="x",
        unread="y",
        summary=[1],
        code_version=None,
        backend={"a": 1},
        architecture={"layers": "many"},
    )
    plain = store(tmp_path / "b", layers(2), "owner/b")
    table = compare_runs([strange, plain], metrics=["std"])
    assert {"rank_tol", "backend", "code_version"} <= {d.setting for d in table.differences}
    assert len(table.readable) == 2


def test_an_unknown_metric_is_refused_with_what_is_near(stored):
    with pytest.raises(ConfigError, match="'stable_rnk'") as refusal:
        compare_runs(stored, metrics=["stable_rnk"])
    assert "stable_rank" in refusal.value.remedy
    with pytest.raises(ConfigError, match="'parameter'"):
        compare_runs(stored, sort="parameter")


def test_runs_with_no_block_type_in_common_are_refused(tmp_path):
    a = store(tmp_path / "a", [matrix(0, "q_proj", std=1.0), matrix(1, "other", std=1.0)], "x/a")
    b = store(tmp_path / "b", [matrix(0, "conv", std=1.0), matrix(1, "other", std=1.0)], "x/b")
    with pytest.raises(ResultError, match=r"no block type in common \(x/a: q_proj; x/b: conv\)"):
        compare_runs([a, b])
    assert len(compare_runs([a, b, store(tmp_path / "c", [matrix(0, std=2.0)])]).readable) == 3


def test_the_json_is_as_documented(tmp_path):
    """The golden file holds every key; a change of it is a change for programs."""
    a = store(tmp_path / "a", layers(3, seed=1), "owner/a", summary={"parameters": 432})
    rows = [matrix(0, std=0.25, condition_number=np.inf)]
    other = {**CONFIGURATION, "zero_epsilon": 0}
    b = store(tmp_path / "b", rows, "owner/b", summary={"parameters": 48}, configuration=other)
    names = ["parameters", "std", "sparsity", "condition_number"]
    table = compare_runs([a, b, tmp_path / "gone"], metrics=names, bins=3)
    text = json.dumps(table.as_json(), indent=1, allow_nan=False).replace(str(tmp_path), "@")
    assert text + "\n" == (DATA / "compare_runs.json").read_text("utf-8")


def test_it_reads_well_in_python_and_in_a_notebook(stored, tmp_path):
    evil = store(tmp_path / "evil", layers(2), "<b>evil", configuration=CONFIGURATION | {"seed": 1})
    table = compare_runs([evil, *stored, tmp_path / "gone"], metrics=["stable_rank", "std"])
    assert repr(table) == "<5 runs by stable_rank; stable_rank, std>"
    shown = table._repr_html_()
    assert "&lt;b&gt;evil" in shown
    assert "<b>evil" not in shown
    assert f"stable_rank {table.runs[0].values['stable_rank']:.4g}, std " in shown
    assert "gone does not exist" in shown
    assert "Resamples differ" in shown


def test_runs_of_analyze_of_two_architectures(tmp_path, rng):
    config = AnalyzeConfig(backend="numpy")
    a = analyze(write_single(tmp_path / "a", weights(rng)), out=tmp_path / "ra", config=config)
    bert = {
        f"encoder.layer.{layer}.{name}.weight": rng.standard_normal((8, 8)).astype(np.float32)
        for layer in range(2)
        for name in ("attention.self.query", "output.dense")
    }
    b = analyze(write_single(tmp_path / "b", bert), out=tmp_path / "rb", config=config)
    shutil.rmtree(tmp_path / "a")  # no weights are read
    table = compare_runs([a.folder, b.folder], metrics=["stable_rank"])
    assert table.differences == ()
    assert sorted(run.layers for run in table.runs) == [2, 12]
    for run, loaded in ((a, a.load()), (b, b.load())):
        frame = loaded[loaded["rows"].notna() & loaded["alias_of"].isna()]
        (line,) = [each for each in table.runs if each.path == str(run.meta_path)]
        assert line.values["stable_rank"] == pytest.approx(frame["stable_rank"].median())
