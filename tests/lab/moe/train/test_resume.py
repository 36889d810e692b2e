"""A training with a drawn policy and the losses of Surprise goes on with the same bits."""

import os
import signal
from dataclasses import replace

import pytest
from training import metrics_of, results_of

from mlx_probe.core.errors import Interrupted
from mlx_probe.lab.data.config import DataConfig
from mlx_probe.lab.moe.graft import GraftConfig, graft_model
from mlx_probe.lab.moe.train.config import (
    GateConfig,
    LossConfig,
    MixtureRecipe,
    MixtureTrainConfig,
    PolicyConfig,
    SurpriseConfig,
)
from mlx_probe.lab.moe.train.train import train_mixture
from mlx_probe.lab.train.progress import Silent

RECIPE = MixtureRecipe(
    gate=GateConfig(kind="topk", active=2, begin="model"),
    loss=LossConfig(distillation=0.0, language=1.0),
    policy=PolicyConfig(kind="random", experts=2),
    surprise=SurpriseConfig(weight=0.1, at="input"),
    data=DataConfig(document="line", workers=1),
    train=MixtureTrainConfig(
        learn="all", context=16, steps=6, batch=2, accumulation=2, warmup=1, evaluate_every=6,
        evaluation_tokens=64, checkpoint_every=2, sample_every=0, compile="never",
    ),
)  # fmt: skip


class Stopping(Silent):
    """Sends Ctrl-C at a step."""

    def __init__(self, at):
        self.at = at

    def step(self, metrics):
        if metrics["step"] == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def copies(dense, tmp_path_factory):
    root = tmp_path_factory.mktemp("resumed")
    graft_model(str(dense.llama), root / "copies", GraftConfig(form="drop", experts=5, run=False))
    (root / "text.txt").write_text("".join(f"To be, or line {n}?\n\n" for n in range(300)), "utf-8")
    return root


def test_it_goes_on_with_the_same_bits(copies):
    def train(name, recipe=RECIPE, progress=None):
        model, data = copies / "copies", [copies / "text.txt"]
        return train_mixture(
            recipe, model, copies / name, data=data, device="cpu", progress=progress
        )

    whole = train("whole")
    with pytest.raises(Interrupted):
        train("stopped", progress=Stopping(3))
    resumed = train("stopped")
    found, wanted = (
        {name: value for name, value in files_of(run.folder).items() if name != "samples"}
        for run in (resumed, whole)
    )
    assert found == wanted
    lines = metrics_of(whole.folder)
    assert all(line["surprise_loss"] > 0 for line in lines[1:])
    # The policy decides what is learned.
    other = replace(RECIPE, policy=replace(RECIPE.policy, kind="most"))
    assert files_of(train("other", other).folder)["weights"] != wanted["weights"]
    assert whole.meta["recipe"]["policy"] == {"kind": "random", "experts": 2}


def files_of(run):
    (run / "samples.jsonl").touch()
    return results_of(run)
