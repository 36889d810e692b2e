"""Which tokens an expert gets more than its share of, counted by hand."""

import numpy as np
from tiny_mixtures import layer_of

from mlx_probe.lab.moe.routing.liked import in_context, liked_tokens


def test_liked_tokens():
    #                 0   1   2   3   4   5   6   7   8   9
    tokens = np.array([7, 7, 7, 9, 9, 9, 9, 4, 4, 1])
    experts = np.array([0, 0, 1, 1, 1, 1, 0, 2, 2, 2])[:, None]
    layer = layer_of(experts)
    layer.weights[:, 0] = np.linspace(1, 0.1, 10)
    liked = liked_tokens(layer, tokens)
    # Expert 0: 7 is 2/3 of its tokens and 3/10 of all; 9 came once.
    assert (liked[0].tokens, liked[0].counts, liked[0].seen) == ((7,), (2,), (3,))
    assert liked[0].places == (0,)
    # Expert 1: 9 is 3/4 of its tokens and 4/10 of all.
    assert (liked[1].tokens, liked[1].counts, liked[1].seen) == ((9,), (3,), (4,))
    assert liked[1].places == (3,)
    assert liked[2].tokens == (4,)
    assert (liked[3].tokens, liked[3].places) == ((), ())


def test_the_order_is_by_what_tells_most():
    generator = np.random.default_rng(0)
    tokens = generator.integers(12, size=400)
    experts = np.where(tokens < 4, tokens % 2, generator.integers(3, size=400))[:, None]
    layer = layer_of(experts)
    for expert, liked in enumerate(liked_tokens(layer, tokens)[:3]):
        own = tokens[experts[:, 0] == expert]
        share = np.bincount(own, minlength=12) / len(own)
        all_of_them = np.bincount(tokens, minlength=12) / 400
        with np.errstate(divide="ignore", invalid="ignore"):
            telling = np.where(share > all_of_them, share * np.log(share / all_of_them), 0)
        wanted = [t for t in np.argsort(-telling, kind="stable")[:8] if telling[t] > 0]
        assert list(liked.tokens) == wanted


def test_inactive_experts_get_nothing():
    tokens = np.array([3, 3, 3, 5])
    layer = layer_of([[0, 1]] * 4, [[True, False]] * 3 + [[True, True]])
    assert liked_tokens(layer, tokens)[1].tokens == ()


def test_context_is_within_the_row():
    texts = list("abcdefghijklmnopqrstuvwxyz")
    assert in_context(texts, 12, 0, 26) == "efghijkl[[m]]nopqrstu"
    assert in_context(texts, 12, 10, 14) == "kl[[m]]n"
