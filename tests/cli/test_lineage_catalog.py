"""`mlx-probe lineage --catalog`: all models of the catalog, remembered in it."""

import json
import os

import jsonschema
import merged_models as made
import pytest
from models import invoke, refuses

from mlx_probe.analysis.lineage import family
from mlx_probe.cli.schemas.lineage import FAMILY


@pytest.fixture
def catalog(tmp_path):
    f = made.family()
    for name in ("base", "a", "b", "x"):
        made.write(tmp_path / "models" / name, f[name])
    merged = made.weighted([f["a"], f["b"]], [0.6, 0.4])
    made.write(tmp_path / "models" / "merged", merged)
    path = tmp_path / "catalog.sqlite"
    invoke("catalog", "--database", path, "scan", tmp_path / "models")
    return path


def lineage(catalog, *arguments):
    result = invoke("lineage", "--catalog", "--database", catalog, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def shown(catalog, name):
    result = invoke("catalog", "--database", catalog, "show", name, "--json")
    document = json.loads(result.stdout)
    names = {
        json.loads(each)["key"]: json.loads(each)["id"]
        for each in map(json.dumps, json.loads(listed(catalog)))
    }
    return {names[kin["key"]]: kin for kin in document["kin"]}


def listed(catalog):
    return invoke("catalog", "--database", catalog, "list", "--json").stdout


def test_relations_are_found_stored_and_shown(catalog, monkeypatch):
    document = lineage(catalog)
    jsonschema.validate(document, FAMILY)
    assert {model["name"] for model in document["models"]} == {"base", "a", "b", "x", "merged"}
    (merge,) = document["merges"]
    assert {part["model"]: round(part["weight"], 2) for part in merge["parts"]} == {
        "a": 0.6,
        "b": 0.4,
    }
    kin = shown(catalog, "merged")
    assert {name for name, each in kin.items() if each["role"] == "origin"} == {"a", "b"}
    assert "x" not in kin
    text = invoke("catalog", "--database", catalog, "show", "merged").stdout
    assert "merge" in text.split("kin")[1].split("versions")[0]

    measured = []
    real = family.relate
    monkeypatch.setattr(
        family, "relate", lambda a, b: measured.append({a.model, b.model}) or real(a, b)
    )
    assert lineage(catalog) == document
    # Only pairs of the merge, which other models decide, are measured again.
    assert sorted(map(sorted, measured)) == [["a", "merged"], ["b", "merged"]]


def test_a_file_that_changed_is_left_out_until_it_is_scanned(catalog, tmp_path):
    lineage(catalog)
    weights = tmp_path / "models" / "a" / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    document = lineage(catalog)
    assert "has changed since the last scan" in document["left_out"]["a"]
    assert "a" in shown(catalog, "base")
    invoke("catalog", "--database", catalog, "scan", tmp_path / "models")
    assert "a" not in shown(catalog, "base")
    weights.unlink()
    assert "is gone" in lineage(catalog)["left_out"]["a"]


def test_a_filter_and_names_that_are_not_unique(catalog, tmp_path):
    made.write(tmp_path / "other" / "base", made.family()["y"])
    invoke("catalog", "--database", catalog, "scan", tmp_path / "other")
    document = lineage(catalog, "--filter", "base")
    names = [model["name"] for model in document["models"]]
    assert len(set(names)) == 2
    assert all(name.startswith("base (") for name in names)


def test_refusals(catalog, tmp_path):
    at = "lineage", "--database", catalog
    refuses(invoke(*at, "--catalog", "a", "b"), "Leave --catalog out", code=2)
    refuses(invoke(*at, "--filter", "tag=x", "a", "b"), "Add --catalog", code=2)
    refuses(invoke(*at, "--catalog", "--filter", "tag=none"), "the catalog has 0 such", code=2)
    refuses(invoke(*at, "--catalog", "--filter", "colour=red"), "filter by", code=2)
    for name in ("a", "b", "x", "merged"):
        (tmp_path / "models" / name / "model.safetensors").write_bytes(b"broken")
    refuses(invoke(*at, "--catalog"), "1 that can be read", code=2)


def test_a_run_of_the_catalog(catalog, tmp_path):
    out = tmp_path / "out"
    lineage(catalog, "--out", out, "--report", tmp_path / "page.html")
    meta = json.loads((out / "run_meta.json").read_text())
    assert (meta["kind"], meta["metrics"]["models"], meta["metrics"]["merges"]) == ("lineage", 5, 1)
    assert set(meta["outputs"]) == {"lineage.html", "lineage.json"}
    assert json.loads((out / "lineage.json").read_text())["merges"]
    assert (tmp_path / "page.html").read_text() == (out / "lineage.html").read_text()
    # Another command's folder is refused.
    meta["kind"] = "merge"
    (out / "run_meta.json").write_text(json.dumps(meta))
    refused = invoke("lineage", "--catalog", "--database", catalog, "--out", out)
    refuses(refused, "holds a run of `mlx-probe merge`")
