"""Which run came from what: by paths, hashes and names; circles and what is gone."""

import shutil

import pytest
from experiment_runs import analysis, training
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.library.experiments import load_runs, scan_experiments
from mlx_probe.library.experiments.lineage import build_lineage
from mlx_probe.report.html.layered import layered


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    training(folder / "base", day=1)
    model = folder / "base" / "model"
    training(folder / "next", day=2, init=str(model), data=None)
    weights = str(folder / "next" / "model" / "model.safetensors")
    analysis(folder / "read", day=3, model={"id": "x", "path": weights})
    return folder


def graph(database, root):
    scan_experiments(database, [root])
    lineage = build_lineage(load_runs(database))
    label = {key: node.label for key, node in lineage.nodes.items()}
    return lineage, {(label[e.source], label[e.target], e.role) for e in lineage.edges}


def key_of(lineage, label):
    return next(key for key, node in lineage.nodes.items() if node.label == label)


def test_outputs_are_inputs(database, root):
    lineage, edges = graph(database, root)
    assert edges == {
        ("texts", "base", "data"),
        ("base", "base/model", "wrote"),
        ("base/model", "next", "model"),
        ("next", "next/model", "wrote"),
        ("next/model", "read", "model"),
    }
    assert {node.kind for node in lineage.nodes.values()} == {"run", "model", "data"}
    part = lineage.around([key_of(lineage, "next")])
    assert {node.label for node in part.nodes.values()} == {
        *("texts", "base", "base/model", "next", "next/model", "read"),
    }
    analysis(root / "alone", model="other/model")
    lineage, _ = graph(database, root)
    assert "alone" not in {
        n.label for n in lineage.around([key_of(lineage, "next")]).nodes.values()
    }


def test_links_and_relative_names_are_the_same_path(database, root, tmp_path):
    (tmp_path / "link").symlink_to(root / "base")
    analysis(root / "linked", model={"id": "y", "path": str(tmp_path / "link" / "model")})
    analysis(root / "relative", model={"id": "./base/model"}, working_folder=str(root))
    _, edges = graph(database, root)
    assert ("base/model", "linked", "model") in edges
    assert ("base/model", "relative", "model") in edges


def test_hashes_and_names_join(database, root):
    copied = {"id": "copy", "path": "/elsewhere/model", "sha256": "a" * 64}
    analysis(root / "known", model={**copied, "path": str(root / "base" / "model")})
    analysis(root / "moved", model=copied)
    for name in ("one", "two"):
        analysis(root / name, model={"id": "hub/m", "revision": "c0"})
    analysis(root / "three", model={"id": "hub/m", "revision": "c1"})
    lineage, edges = graph(database, root)
    assert ("base/model", "moved", "model") in edges
    hub = [node for node in lineage.nodes.values() if node.label == "hub/m"]
    assert sorted(len(lineage.targets[node.key]) for node in hub) == [1, 2]


def test_what_is_gone_is_marked(database, root):
    analysis(root / "lost", model={"id": "gone", "path": "/nowhere/gone"})
    scan_experiments(database, [root])
    shutil.rmtree(root / "base")
    lineage, _ = graph(database, root)
    assert {node.label for node in lineage.nodes.values() if node.gone} == {
        *("gone", "base", "base/model"),
    }


def test_a_run_that_replaced_what_it_read(database, root):
    own = str(root / "self" / "model")
    training(root / "self", init=own, day=4)
    lineage, edges = graph(database, root)
    assert {("self", "self/model", "wrote"), ("self/model", "self", "model")} <= edges
    assert len(lineage.around([key_of(lineage, "self")]).nodes) == 3
    layout = layered(list(lineage.nodes), [(e.source, e.target) for e in lineage.edges])
    assert len(layout.back) == 1


def test_models_are_named(database, root):
    lineage, _ = graph(database, root)
    assert lineage.named("base/model") == lineage.named(str(root / "base" / "model"))
    assert [lineage.nodes[key].label for key in lineage.named("text")] == ["texts"]
    assert lineage.named("nothing") == lineage.named("") == []


@given(
    st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=30),
        )
    )
)
def test_layers_lead_to_the_right_and_share_no_place(graph):
    count, pairs = graph
    nodes = [str(number) for number in range(count)]
    edges = list(dict.fromkeys((str(a), str(b)) for a, b in pairs))
    layout = layered(nodes, edges)
    assert {*layout.routes, *layout.back} == set(edges)
    assert len(layout.routes) + len(layout.back) == len(edges)
    taken = [*layout.places.values()]
    for (source, target), route in layout.routes.items():
        assert route[0] == layout.places[source]
        assert route[-1] == layout.places[target]
        assert [layer for layer, _ in route] == list(range(route[0][0], route[-1][0] + 1))
        taken += route[1:-1]
    assert len(set(taken)) == len(taken)
    # What has no circle has no edge to the left.
    forward = [edge for edge in edges if int(edge[0]) < int(edge[1])]
    assert not layered(nodes, forward).back
