"""Which experts learn from a step: under plain gradient descent exactly these move."""

from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import pytest
from mlx.optimizers import SGD, MultiOptimizer
from mlx.utils import tree_flatten
from tiny_mixtures import rows

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.train.config import (
    POLICIES,
    LossConfig,
    MixtureRecipe,
    MixtureTrainConfig,
    PolicyConfig,
)
from mlx_probe.lab.moe.train.objective import Teacher, described_step, mixture_loss
from mlx_probe.lab.moe.train.opening import open_mixture
from mlx_probe.lab.moe.train.policy import expert_policy
from mlx_probe.lab.train.step import TrainStep

EXPERTS = 6


@pytest.fixture(autouse=True, scope="module")
def on_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.fixture(scope="module")
def folder(dense, tmp_path_factory):
    out = tmp_path_factory.mktemp("policy") / "copies"
    graft_model(str(dense.llama), out, GraftConfig(form="drop", experts=EXPERTS, run=False))
    return out


def moved(folder, kind, step, count=2, seed=0, times=1):
    """Of each layer the experts that a step of gradient descent moves, and their norms before."""
    mixture = open_mixture(str(folder))
    network = mixture.network
    network.train()
    config = MixtureTrainConfig(learn="all", clip=0.0, warmup=0, steps=10, schedule="constant")
    optimizer = MultiOptimizer([SGD(1e-2)], [])
    optimizer.init(network.trainable_parameters())
    transform = expert_policy(PolicyConfig(kind=kind, experts=count), EXPERTS, seed)
    kept = []

    def keep(number, gradients):
        stacks = [g for name, g in tree_flatten(gradients) if ".switch_mlp." in name]
        kept.append([np.array(g, np.float64) for g in stacks])
        return transform(number, gradients) if transform else gradients

    make = TrainStep(
        network, optimizer, config, mx.float32, False,
        loss=mixture_loss(mixture.record, LossConfig(distillation=0.0, language=1.0)),
        describe=described_step, transform=keep,
    )  # fmt: skip
    batch = Teacher(None, 1.0)(rows(2, 12) % 90)
    before = stacks_of(network)
    make(step, [batch] * times)
    after = stacks_of(network)
    changed = {
        layer: {
            expert
            for expert in range(EXPERTS)
            if any((a[expert] != b[expert]).any() for a, b in zip(after[layer], parts, strict=True))
        }
        for layer, parts in before.items()
    }
    size = len(kept[0]) // len(before)
    squares = [np.square(g).sum((1, 2)) for g in kept[0]]
    norms = [sum(squares[n * size : (n + 1) * size]) for n in range(len(before))]
    return SimpleNamespace(changed=list(changed.values()), norms=norms, network=network)


def stacks_of(network):
    found = {}
    for name, weight in tree_flatten(network.parameters()):
        before, stack, _ = name.partition(".switch_mlp.")
        if stack:
            found.setdefault(before, []).append(np.array(weight))
    return found


@pytest.mark.parametrize("kind", POLICIES)
def test_exactly_k_experts_of_a_layer_move(folder, kind):
    found = moved(folder, kind, step=3)
    assert len(found.changed) == 2
    for changed, norms in zip(found.changed, found.norms, strict=True):
        order = np.argsort(norms)
        if kind == "all":
            assert changed == set(range(EXPERTS))
        elif kind == "smk":
            assert changed == set(order[:2])
        elif kind == "most":
            assert changed == set(order[-2:])
        else:
            assert len(changed) == 2


def test_what_is_no_expert_learns_with_each_policy(folder):
    found = moved(folder, "smk", step=1)
    plain = open_mixture(str(folder)).network
    before, after = (
        {n: np.array(w) for n, w in tree_flatten(m.parameters()) if ".switch_mlp." not in n}
        for m in (plain, found.network)
    )
    assert [name for name in before if np.array_equal(before[name], after[name])] == []


def test_the_draw_follows_from_seed_and_step(folder):
    first = moved(folder, "random", step=5)
    assert moved(folder, "random", step=5).changed == first.changed
    others = [moved(folder, "random", step, seed=seed) for step, seed in ((6, 0), (7, 0), (5, 1))]
    assert any(other.changed != first.changed for other in others)


def test_micro_batches_count_together(folder):
    once, twice = (moved(folder, "smk", 1, times=times) for times in (1, 2))
    assert once.changed == twice.changed


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"train\.learn=router learns none"):
        MixtureRecipe(policy=PolicyConfig(kind="smk"))
    with pytest.raises(ConfigError, match="there are 6 experts"):
        expert_policy(PolicyConfig(kind="most", experts=7), EXPERTS, 0)
    with pytest.raises(ConfigError, match="kind"):
        PolicyConfig(kind="least")
    assert expert_policy(PolicyConfig(), EXPERTS, 0) is None
