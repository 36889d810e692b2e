"""Several models at once: merges that are found among them, and what comes from what."""

import itertools

import merged_models as made
import numpy as np
import pytest
from scipy.sparse import csgraph

from mlx_probe.analysis.lineage import read_fingerprint
from mlx_probe.analysis.lineage.family import family_of
from mlx_probe.analysis.lineage.family_tree import centre, trees_of
from mlx_probe.analysis.lineage.merge_records import MergeWeights
from mlx_probe.analysis.lineage.records import Relation
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ConfigError


def fingerprints(folder, models):
    prints = []
    for name, model in models.items():
        with open_checkpoint(made.write(folder / name, model)) as checkpoint:
            prints.append(read_fingerprint(checkpoint))
    return prints


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    f = made.family()
    models = {
        **f,
        "ab": made.weighted([f["a"], f["b"]], [0.7, 0.3]),
        "xy": made.arc(f["x"], f["y"], 0.4),
        "abc": made.weighted([f["a"], f["b"], f["c"]], [0.5, 0.3, 0.2]),
        "pruned": {
            name: np.where(np.abs(values) < np.quantile(np.abs(values), 0.3), 0, values)
            if values.ndim > 1
            else values
            for name, values in f["a"].items()
        },
        "ab-tuned": made.stored(
            made.train(0, 5, made.weighted([f["a"], f["b"]], [0.7, 0.3]), rate=2e-4), "BF16"
        ),
    }
    # In an order that says nothing.
    names = sorted(models, key=lambda name: name[::-1])
    return family_of(
        fingerprints(tmp_path_factory.mktemp("zoo"), {name: models[name] for name in names})
    )


def test_every_pair_is_related_once(zoo):
    names = [member.name for member in zoo.members]
    assert [(r.a, r.b) for r in zoo.relations] == list(itertools.combinations(names, 2))
    strangers = {"x", "y", "xy"}, {"z"}, set(names) - {"x", "y", "z", "xy"}
    for relation in zoo.relations:
        together = any({relation.a, relation.b} <= kin for kin in strangers)
        if {relation.a, relation.b} != {"x", "y"}:
            assert (relation.relation != "unrelated") == together


def test_merges_are_found_with_their_weights(zoo):
    found = {merge.child: merge for merge in zoo.merges}
    assert found.keys() == {"ab", "abc", "xy"}
    true = {"ab": {"a": 0.7, "b": 0.3}, "abc": {"a": 0.5, "b": 0.3, "c": 0.2}}
    true["xy"] = {"x": 0.6, "y": 0.4}
    for name, weights in true.items():
        shares = {part.model: part.weight for part in found[name].parts}
        assert shares == pytest.approx(weights, abs=0.002)
    for relation in zoo.relations:
        if {relation.a, relation.b} == {"a", "ab"}:
            assert relation.relation == "merge"
            assert (relation.parent == "a") == (relation.a == "a")


def test_the_tree(zoo):
    largest, seeds, alone = zoo.trees
    edges = {(edge.parent, edge.child): edge for edge in largest.edges}
    assert edges.keys() == {
        *(("base", "a"), ("base", "b"), ("base", "c"), ("a", "pruned"), ("ab", "ab-tuned")),
        *(("a", "ab"), ("b", "ab"), ("a", "abc"), ("b", "abc"), ("c", "abc")),
    }
    assert (largest.roots, largest.root_known) == (("base",), False)
    assert {pair for pair, edge in edges.items() if not edge.directed} == {
        *(("base", "a"), ("base", "b"), ("base", "c"), ("ab", "ab-tuned")),
    }
    assert edges["a", "ab"].weight == pytest.approx(0.7, abs=0.002)
    assert (set(seeds.roots), seeds.root_known) == ({"x", "y"}, True)
    assert (alone.members, alone.edges) == (("z",), ())
    for tree in zoo.trees:
        for edge in tree.edges:
            assert tree.members.index(edge.parent) < tree.members.index(edge.child)


def relation(a, b, kind="finetune", parent=None, difference=0.1):
    numbers = {"similarity": 0.99, "difference": difference}
    return Relation(a, b, kind, 0.9, 0.9, (), parent=parent, numbers=numbers)


def edges_of(tree):
    return {(edge.parent, edge.child, edge.directed) for edge in tree.edges}


def test_a_direction_that_is_known_is_kept():
    """The finer model of a quantization is its parent, and a chain follows the distances."""
    relations = [
        relation("q", "m", "quantization", "b", 0.05),
        relation("q", "t", difference=0.21),
        relation("m", "t", difference=0.2),
    ]
    (tree,) = trees_of(["q", "m", "t"], relations, ())
    assert edges_of(tree) >= {("m", "q", True)}
    assert ("t", "m", False) in edges_of(tree) or ("m", "t", False) in edges_of(tree)
    assert not tree.root_known


def test_relations_in_a_circle_make_a_tree_all_the_same():
    relations = [
        relation("a", "b", "pruning", "a"),
        relation("b", "c", "pruning", "a"),
        relation("a", "c", "pruning", "b"),
    ]
    (tree,) = trees_of(["a", "b", "c"], relations, ())
    assert len(tree.edges) == 2
    assert len({edge.child for edge in tree.edges}) == 2
    assert len(tree.roots) == 1


def test_the_centre_is_found_on_the_tree(rng):
    """Against all ways by Floyd and Warshall, on the minimum spanning tree of scipy."""
    for count in (2, 3, 7):
        points = rng.standard_normal((count, 3))
        far = np.linalg.norm(points[:, None] - points, axis=2)
        names = [f"m{i}" for i in range(count)]
        tree = csgraph.minimum_spanning_tree(far)
        ways = csgraph.floyd_warshall(tree, directed=False)
        known = {(names[i], names[j]): far[i, j] for i in range(count) for j in range(count)}
        assert centre(names, known) == names[int(np.argmin(ways.sum(axis=1).round(9)))]


def test_a_tune_of_a_merge_of_strangers_comes_from_the_merge():
    relations = [
        relation("t", "x", difference=0.6),
        relation("t", "y", difference=0.6),
        relation("t", "m", difference=0.1),
        relation("m", "x", "merge", "b", 0.59),
        relation("m", "y", "merge", "b", 0.59),
    ]
    merge = MergeWeights(
        *("m", ("x", "y"), None, "linear", 0.9, (), None, None, (), "layer", 1.0, 1.0, None),
        *(9, 0, {}, ("why",)),
    )
    (tree,) = trees_of(["t", "x", "m", "y"], relations, [merge])
    assert edges_of(tree) == {("x", "m", True), ("y", "m", True), ("m", "t", False)}
    assert (tree.roots, tree.root_known) == (("x", "y"), True)


def test_a_copy_of_weights_is_attached_to_its_twin():
    relations = [
        relation("a", "b", "same", difference=0.0),
        relation("a", "c", difference=0.3),
        relation("b", "c", difference=0.3),
    ]
    (tree,) = trees_of(["a", "b", "c"], relations, ())
    assert len(tree.members) == 3
    assert any({edge.parent, edge.child} == {"a", "b"} for edge in tree.edges)


def test_what_is_refused(tmp_path):
    prints = fingerprints(tmp_path, {"x": made.family()["x"]})
    with pytest.raises(ConfigError, match="at least two models"):
        family_of(prints)
    with pytest.raises(ConfigError, match="named twice"):
        family_of(prints * 2)


def test_models_of_one_name_are_told_apart_by_their_paths(tmp_path):
    f = made.family()
    first = fingerprints(tmp_path / "one", {"m": f["x"]})
    second = fingerprints(tmp_path / "two", {"m": f["y"]})
    family = family_of([*first, *second])
    assert [member.name for member in family.members] == [first[0].path, second[0].path]


def test_the_document(zoo):
    document = zoo.as_json()
    assert document.keys() == {"models", "pairs", "merges", "tree", "left_out"}
    assert {tree["root_known"] for tree in document["tree"]} == {True, False}
