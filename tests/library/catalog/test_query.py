"""Queries, sorting, and the model that a text means."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog import (
    SORTS,
    Analysis,
    Model,
    Query,
    find_model,
    find_versions,
    select_models,
)

RUN = Analysis(Path("/r/run_meta.json"), "analyze", "2026-01-02T00:00:00", {})
SMALL = Model(
    key="aaaa11112222",
    store="hub",
    id="Owner/Tiny-1B",
    revision="c0",
    path=Path("/hub/tiny"),
    location=Path("/hub/tiny/model.safetensors"),
    format="safetensors",
    architecture="llama",
    shape={"layers": 2, "hidden_size": 8},
    parameters=1000,
    dtypes={"BF16": 990, "F32": 10},
    bits=16.2,
    size=2000,
    licence="apache-2.0",
    tags=("good", "small"),
    analyses=(RUN,),
)
PACKED = replace(
    SMALL,
    key="bbbb11112222",
    store="lm-studio",
    id="maker/Tiny-1B-GGUF:tiny-1b.Q4_K_M.gguf",
    format="gguf",
    dtypes={"Q4_K": 900, "Q6_K": 100},
    bits=4.8,
    size=600,
    tags=(),
    analyses=(),
)
OTHER = Model(
    key="cccc11112222",
    store="folder",
    id="Other",
    revision="local",
    path=Path("/m/other"),
    location=Path("/m/other/x.bin"),
    problem="damaged",
    size=50,
    missing=True,
)
MODELS = [OTHER, PACKED, SMALL]


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        (Query(), [PACKED, OTHER, SMALL]),
        (Query(text="TINY"), [PACKED, SMALL]),
        (Query(text="/m/oth"), [OTHER]),
        (Query(format="GGUF"), [PACKED]),
        (Query(format="gg"), []),
        (Query(architecture="lla"), [PACKED, SMALL]),
        (Query(dtype="q6"), [PACKED]),
        (Query(store="hub"), [SMALL]),
        (Query(licence="apache"), [PACKED, SMALL]),
        (Query(tags=("GOOD", "small")), [SMALL]),
        (Query(tags=("good", "bad")), []),
        (Query(larger=600), [PACKED, SMALL]),
        (Query(smaller=600), [PACKED, OTHER]),
        (Query(analyzed=True), [SMALL]),
        (Query(analyzed=False), [PACKED, OTHER]),
        (Query(missing=True), [OTHER]),
        (Query(problem=False), [PACKED, SMALL]),
    ],
)
def test_filters(query, matches):
    assert [m.key for m in select_models(MODELS, query)] == [m.key for m in matches]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_order_keeps_all_and_puts_the_unknown_last(sort, reverse):
    ordered = select_models(MODELS, Query(), sort, reverse)
    assert sorted(m.key for m in ordered) == sorted(m.key for m in MODELS)
    values = [SORTS[sort](m) for m in ordered]
    valued = [value for value in values if value is not None]
    assert values[: len(valued)] == sorted(valued, reverse=reverse)


def test_sizes_are_sorted_as_numbers():
    assert select_models(MODELS, Query(), "size", True) == [SMALL, PACKED, OTHER]
    with pytest.raises(ConfigError, match="no 'sise' to sort by") as e:
        select_models(MODELS, Query(), "sise")
    assert e.value.remedy == "Use size"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("aaaa11112222", SMALL),
        ("bbb", PACKED),
        ("Owner/Tiny-1B", SMALL),
        ("owner/", SMALL),
        ("q4_k_m", PACKED),
        ("oth", OTHER),
        ("/m/other", OTHER),
    ],
)
def test_a_model_by_any_of_its_names(text, model):
    assert find_model(MODELS, text) is model


def test_several_and_none():
    with pytest.raises(ConfigError, match="means 2 models: bbbb1111 maker"):
        find_model(MODELS, "tiny")
    with pytest.raises(ConfigError, match="no model") as e:
        find_model(MODELS, "Owmer/Tiny-1B")
    assert "Did you mean Owner/Tiny-1B" in e.value.remedy
    with pytest.raises(ConfigError) as e:
        find_model([], "x")
    assert "scan" in e.value.remedy
    with pytest.raises(ConfigError):
        find_model(MODELS, "")


def test_an_existing_model_comes_before_a_missing_one():
    gone = replace(SMALL, key="dddd11112222", missing=True)
    assert find_model([gone, SMALL], "Owner/Tiny-1B") is SMALL


def why(model, *models):
    return [(other.key[0], reason) for other, reason in find_versions(model, models)]


def test_versions_of_one_network():
    base = replace(PACKED, key="e", id="x/Finetune-4bit", base_models=("owner/tiny-1b",))
    assert why(SMALL, SMALL, PACKED, base) == [
        ("b", "same name"),
        ("e", "names this one as its base"),
    ]
    assert why(base, SMALL) == [("a", "this one names it as its base")]
    sibling = replace(base, key="f")
    assert why(base, sibling) == [("f", "same name")]
    assert why(replace(base, id="A"), replace(sibling, id="B")) == [("f", "same base")]
    alike = replace(SMALL, key="g", id="unrelated")
    assert why(SMALL, alike) == [("g", "same architecture and shape")]


def test_what_contradicts_itself_is_no_version():
    assert why(SMALL, replace(PACKED, parameters=2000)) == []
    assert why(SMALL, replace(PACKED, shape={"layers": 3})) == []
    assert why(SMALL, replace(PACKED, missing=True)) == []
    assert why(SMALL, replace(PACKED, adapter="lora")) == []
    assert why(SMALL, replace(OTHER, missing=False)) == []
