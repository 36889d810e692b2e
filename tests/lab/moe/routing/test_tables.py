"""What was measured, as rows, arrays and the routing of the first tokens."""

import mlx.core as mx
import numpy as np
import pytest
from tiny_llm import TEXTS, make_tokenizer
from tiny_mixtures import ACTIVE, EXPERTS, loaded, mixture

from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.balance import coactivation
from mlx_probe.lab.moe.routing.tables import BINS, routed_text
from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    tokenizer = make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    ids = [*tokenizer.encode(TEXTS[0])[:30], tokenizer.eos_id]
    with mx.stream(mx.cpu):
        model = mixture("mixtral", vocab_size=tokenizer.vocabulary)
        for layer in model.layers:
            # Nothing is left for expert 6.
            bias = layer.block_sparse_moe.gate
            layer.block_sparse_moe.gate = lambda x, gate=bias: mx.where(
                mx.arange(EXPERTS) == 6, -1e9, gate(x)
            )
        rows = np.array([[*ids[:16]], [*ids[15:]]], np.int32)
        found = measure_routing(loaded(model), rows, lambda *_: None)
    return routed_text(found, tokenizer)


def test_rows_have_the_declared_columns(text):
    for number in range(2):
        layer = text.layer(number)
        assert len(layer.experts) == EXPERTS
        for row in layer.experts:
            assert list(row) == [column.name for column in ROUTED_EXPERT_COLUMNS]
        assert list(layer.layer) == [column.name for column in ROUTED_LAYER_COLUMNS]
        assert sum(row["load"] for row in layer.experts) == pytest.approx(1)
        assert sum(row["assignments"] for row in layer.experts) == ACTIVE * 30
        assert layer.layer["unused"][0] in range(EXPERTS)
        unused = layer.experts[6]
        assert 6 in layer.layer["unused"]
        assert unused["assignments"] == 0
        assert unused["load"] == 0
        for name in ("saliency", "mean_weight", "agreement", "type_divergence"):
            assert unused[name] is None
        assert unused["liked_tokens"] == unused["contexts"] == []


def test_maps(text):
    layer, routing = text.layer(1), text.routing.layers[1]
    assert np.array_equal(layer.maps["coactivation"], coactivation(routing))
    for name, names in BINS.items():
        load = layer.maps[name]
        assert load.shape == (EXPERTS, len(names))
        assert load.dtype == np.float32
        np.testing.assert_allclose(load.sum(0)[load.any(0)], 1, rtol=1e-6)


def test_contexts_are_places_of_their_tokens(text):
    whole = "".join(text.texts)
    seen = 0
    for number in range(2):
        for row in text.layer(number).experts:
            for token, context in zip(row["liked_tokens"], row["contexts"], strict=False):
                before, _, rest = context.partition("[[")
                marked, _, after = rest.partition("]]")
                assert marked == token
                assert before + marked + after in whole
                seen += 1
            for count, times in zip(row["liked_counts"], row["liked_seen"], strict=True):
                assert 2 <= count <= times
    assert seen


def test_the_beginning_token_by_token(text):
    table = text.beginning().to_pylist()
    assert len(table) == 30 * 2
    for row in table:
        layer = text.routing.layers[row["layer"]]
        token = row["token"]
        assert row["text"] == text.texts[token]
        assert sorted(row["experts"]) == sorted(layer.indices[token].tolist())
        assert row["weights"] == sorted(row["weights"], reverse=True)
        assert sum(row["weights"]) == pytest.approx(1, abs=1e-6)
    assert table[0]["type"] == "word start"
