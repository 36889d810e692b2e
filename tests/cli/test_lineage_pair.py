"""`mlx-probe lineage A B`: the verdict first, then its probability, then the evidence."""

import json

import lineage_models as models
import pytest
from hub_server import hub  # noqa: F401  a fixture
from lineage_models import packed, written
from models import invoke, refuses
from tinymodel import run


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    arrays = models.base()
    return written(root / "base", arrays), packed(root / "packed", arrays)


def test_the_verdict_comes_first(pair):
    result = run("lineage", *pair, COLUMNS="80")
    assert result.returncode == 0, result.stderr
    verdict, reason, probability, *table = result.stdout.splitlines()
    assert verdict == "packed is a quantization of base"
    assert reason.startswith("  the differences are those of rounding: 5.0 bits")
    assert probability.startswith("  probability 9")
    assert max(map(len, table)) <= 80
    assert any(line.startswith(" weight_correlation ") for line in table)
    assert table[-1].startswith("read ")


def test_json_says_the_same_in_either_order(pair):
    there, back = (
        json.loads(invoke("lineage", *order, "--json").stdout) for order in (pair, pair[::-1])
    )
    assert there["relation"] == back["relation"] == "quantization"
    assert (there["parent"], back["parent"]) == ("a", "b")
    assert there["probability"] == pytest.approx(back["probability"])
    assert {"name", "value", "says"} == there["evidence"][0].keys()


def test_a_remote_model_beside_a_local_one(pair, hub):  # noqa: F811
    """Only what is not on this disk is read over the network, and none of it is kept."""
    base, quantized = pair
    hub.repos["owner/name"] = {"main": {p.name: p.read_bytes() for p in quantized.iterdir()}}
    result = invoke("lineage", "--remote", base, "owner/name", "--json")
    said = json.loads(result.stdout)
    assert said["relation"] == "quantization"
    fetched = said["sample"]["fetched_bytes"]
    assert fetched[0] == 0 < fetched[1] == hub.sent["model.safetensors"]
    invoke("lineage", "--remote", base, "owner/name")
    assert hub.sent["model.safetensors"] == 2 * fetched[1]


def test_what_cannot_be_compared_is_refused(pair, tmp_path):
    refuses(invoke("lineage", pair[0]), "two models", code=2)
    refuses(invoke("lineage", pair[0], tmp_path / "nothing"), "does not exist")


def test_neither_of_two_quantizations_is_called_the_parent(pair, tmp_path):
    other = packed(tmp_path / "other", models.base(), 8)
    said = run("lineage", pair[1], other).stdout.splitlines()[0]
    assert said == "other and packed are quantizations of one model"
