"""Plans written as models: mlx-lm's own bits, LAPACK's best factors, and whole or not at all."""

import dataclasses
import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm, transformers
from mlx.utils import tree_flatten, tree_map
from tiny_llm import log_probabilities, make_model, make_tokenizer
from tiny_mixtures import SHAPE, mixture

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.budget.export import export_budget
from mlx_probe.lab.budget.matrices import arrays_of
from mlx_probe.lab.budget.measure import measure
from mlx_probe.lab.budget.options import rank_errors
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Choice, Goal, Way
from mlx_probe.lab.budget.tensors import files_bytes
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.export.mlx_layout import load_lazily
from mlx_probe.lab.generate.loading import load_model, single
from mlx_probe.source import resolve

UP, DOWN = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"
QUERY, EMBEDDING = "model.layers.1.self_attn.q_proj.weight", "model.embed_tokens.weight"
BITS = {
    name: Choice("bits", way=Way(*way))
    for name, way in {
        UP: ("affine", 4, 64),
        DOWN: ("affine", 3, 128),
        QUERY: ("mxfp4", 4, 32),
        EMBEDDING: ("affine", 8, 32),
    }.items()
}
RANKS = {name: Choice("rank", rank=rank) for name, rank in {UP: 9, DOWN: 20, EMBEDDING: 17}.items()}


@pytest.fixture(autouse=True)
def on_cpu():
    mlx_lm("utils")
    with mx.stream(mx.cpu):
        yield


def lm(folder, dtype="bfloat16"):
    mlx_lm("utils")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(folder / "tokenizer")
        return make_model(folder / "model", tokenizer, dim=64, hidden=128, dtype=dtype)


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16"])
def model(request, tmp_path_factory):
    return lm(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return lm(tmp_path_factory.mktemp("half"))


def planned(folder, choices, **options):
    """A plan with these choices for the tensors that are named, and no others."""
    few = {"modes": ("affine", "mxfp4"), "bits": (3, 4, 8), "device": "cpu"}
    plan = plan_budget(str(folder), Goal(error=0.9), **few, **options)
    arrays = arrays_of(load_lazily(folder)[0])
    chosen = []
    for each in plan.chosen:
        choice = choices.get(each.matrix.name, Choice())
        squared = None
        if not each.matrix.reason:
            own = {spec.name: arrays[spec.name] for spec in each.matrix.kept}
            squared = squared_error(each.matrix, choice, measure(each.matrix, own))
        chosen.append(dataclasses.replace(each, choice=choice, squared_error=squared))
    return dataclasses.replace(
        plan,
        chosen=tuple(chosen),
        after=files_bytes((each.matrix, each.choice) for each in chosen),
        squared_error=sum(each.squared_error or 0.0 for each in chosen),
    )


def squared_error(matrix, choice, curve):
    if choice.rank is not None:
        return float(rank_errors(matrix, curve)[choice.rank])
    return curve.keep if choice.way is None else curve.rounding[choice.way]


def numbers(folder, name):
    with open_checkpoint(resolve(str(folder))) as checkpoint:
        [weight] = [w for w in checkpoint.weights() if w.name == name and w.part is None]
        return weight.block(0, weight.rows).astype(np.float64)


def stored(folder):
    return {
        name: array
        for path in sorted(folder.glob("*.safetensors"))
        for name, array in mx.load(str(path)).items()
    }


def same_arrays(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert mx.array_equal(ours[name], array), name


def logits(folder, **options):
    """As mlx-lm computes them, in float32."""
    return predicted(mlx_lm("utils").load(str(folder), **options)[0])


def predicted(network):
    network.update(tree_map(single, network.parameters()))
    return log_probabilities(network, range(5, 25))


def test_the_bits_and_the_config_of_mlx_lm(tmp_path, model):
    exported = export_budget(planned(model, BITS), tmp_path / "ours")

    def predicate(path, module):
        choice = BITS.get(f"{path}.weight")
        return choice.way.settings() if choice else False

    mlx_lm("convert").convert(
        str(model), str(tmp_path / "theirs"), quantize=True, q_group_size=32, q_bits=8,
        quant_predicate=predicate,
    )  # fmt: skip
    same_arrays(stored(tmp_path / "ours"), stored(tmp_path / "theirs"))
    ours, theirs = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("ours", "theirs")
    )
    settings = ours.pop("quantization"), theirs.pop("quantization")
    for name, choice in BITS.items():
        path = name.removesuffix(".weight")
        assert settings[0][path] == settings[1][path] == choice.way.settings()
    del ours["quantization_config"], theirs["quantization_config"]
    assert ours == theirs
    assert np.array_equal(logits(tmp_path / "ours"), logits(tmp_path / "theirs"))
    assert not exported.needs_code
    assert exported.predicted == ()


@pytest.mark.parametrize("choices", [BITS, RANKS, {**BITS, **RANKS}], ids=["bits", "ranks", "both"])
def test_size_and_error_are_those_that_were_planned(tmp_path, model, choices):
    plan = planned(model, choices)
    exported = export_budget(plan, tmp_path / "out")
    files = list((tmp_path / "out").glob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) == plan.after == exported.bytes
    assert [path.name for path in files] == list(exported.files)
    squared = 0.0
    for name in choices:
        change = numbers(tmp_path / "out", name) - numbers(model, name)
        squared += (change**2).sum()
        assert exported.squared_errors[name] == pytest.approx((change**2).sum(), rel=1e-9)
    assert exported.error == pytest.approx((squared / plan.energy) ** 0.5, rel=1e-9)
    assert exported.error == pytest.approx(plan.error, rel=0.01)
    assert exported.squared_errors.keys() == choices.keys()


def test_factors_are_the_best_of_their_rank(tmp_path, model):
    export_budget(planned(model, RANKS), tmp_path / "out")
    written = stored(tmp_path / "out")
    for name, choice in RANKS.items():
        u, sigma, v = np.linalg.svd(numbers(model, name))
        rank = choice.rank
        best = (u[:, :rank] * sigma[:rank]) @ v[:rank]
        unit = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 1e-6}[model.parent.name[:-1]]
        assert np.abs(numbers(tmp_path / "out", name) - best).max() < unit * sigma[0]
        path = name.removesuffix(".weight")
        left, right = (written[f"{path}.lowrank_{side}"] for side in ("left", "right"))
        assert left.dtype == right.dtype == written["model.norm.weight"].dtype
        # Singular values are split evenly.
        sizes = [np.linalg.norm(np.array(f.astype(mx.float32))) ** 2 for f in (left, right)]
        assert sizes == pytest.approx([sigma[:rank].sum()] * 2, rel=0.01)
        assert name not in written


def test_mlx_lm_runs_a_model_with_factors(tmp_path, half):
    out = tmp_path / "out"
    exported = export_budget(planned(half, {**BITS, **RANKS}), out)
    assert exported.needs_code
    found = logits(out, trust_remote_code=True)
    # The same matrices in the family's own class.
    plain, _ = mlx_lm("utils").load(str(half))
    for name in {**BITS, **RANKS}:
        plain.load_weights([(name, mx.array(numbers(out, name).astype("f4")))], strict=False)
    assert predicted(plain) == pytest.approx(found, abs=1e-3)
    ours = load_model(out)
    assert ours.runs_by == "mlx-lm"
    assert predicted(ours.model) == pytest.approx(found, abs=1e-5)
    assert not np.array_equal(found, logits(half))


def test_who_does_not_know_the_factors_refuses_them(tmp_path, half):
    out = tmp_path / "out"
    export_budget(planned(half, RANKS), out)
    with pytest.raises(ValueError, match="trust_remote_code"):
        mlx_lm("utils").load(str(out))
    with pytest.raises(ValueError, match="mlx_probe_lowrank"):
        transformers().AutoConfig.from_pretrained(out)
    # The file beside the weights is not what we run.
    (out / "lowrank_model.py").write_text("raise SystemExit('somebody else')")
    assert load_model(out).runs_by == "mlx-lm"
    config = json.loads((out / "config.json").read_text())
    config["lowrank"]["ranks"] = {"model.layers.7.mlp.up_proj": 4}
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"cuts model\.layers\.7\.mlp\.up_proj"):
        load_model(out)
    config["lowrank"]["ranks"] = {"model.layers.0.mlp.up_proj": -4}
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="no ranks by module"):
        load_model(out)


def test_another_type_for_what_is_kept(tmp_path, model):
    exported = export_budget(planned(model, {**BITS, **RANKS}, dtype="bfloat16"), tmp_path / "out")
    assert exported.error == pytest.approx(exported.predicted_error, rel=0.01)
    floats = {
        a.dtype for a in stored(tmp_path / "out").values() if a.dtype not in (mx.uint32, mx.uint8)
    }
    assert floats == {mx.bfloat16}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"


def test_a_model_that_is_packed_already(tmp_path, half):
    """What stays keeps its bits and its settings, whatever becomes of the others."""
    EXPORTS["mlx"](str(half), tmp_path / "packed", "8bit")
    choices = {UP: BITS[UP], QUERY: BITS[QUERY], DOWN: RANKS[DOWN]}
    plan = planned(tmp_path / "packed", choices)
    exported = export_budget(plan, tmp_path / "out")
    assert exported.bytes == plan.after
    assert exported.error == pytest.approx(exported.predicted_error, rel=0.01)
    before, after = stored(tmp_path / "packed"), stored(tmp_path / "out")
    changed = tuple(name.removesuffix(".weight") for name in choices)
    assert {name for name in before if not name.startswith(changed)} <= after.keys()
    for name, array in before.items():
        if not name.startswith(changed):
            assert mx.array_equal(array, after[name])
    found = logits(tmp_path / "out", trust_remote_code=True)
    assert predicted(load_model(tmp_path / "out").model) == pytest.approx(found, abs=1e-5)


def test_stacks_of_experts(tmp_path):
    """They are packed as one; the router keeps what mlx-lm's rules ask for."""
    shape = {**SHAPE, "hidden_size": 64, "moe_intermediate_size": 64}
    network = mixture("qwen3_moe", hidden_size=64, moe_intermediate_size=64)
    folder = tmp_path / "model"
    make_tokenizer(folder)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
    (folder / "config.json").write_text(json.dumps({**shape, "model_type": "qwen3_moe"}))
    experts = "model.layers.1.mlp.switch_mlp.down_proj.weight"
    attention = "model.layers.0.self_attn.o_proj.weight"
    choices = {experts: BITS[UP], attention: Choice("rank", rank=8)}
    plan = planned(folder, choices)
    exported = export_budget(plan, tmp_path / "out")
    assert exported.bytes == plan.after
    assert exported.squared_errors[experts] == pytest.approx(
        next(c.squared_error for c in plan.chosen if c.matrix.name == experts), rel=1e-6
    )
    assert exported.error == pytest.approx(plan.error, rel=0.01)
    built = load_model(tmp_path / "out").model
    assert built.layers[1].mlp.switch_mlp.down_proj.bits == 4
    assert np.isfinite(log_probabilities(built, range(5, 25))).all()


def test_files_beside_the_weights(tmp_path, half):
    export_budget(planned(half, BITS), tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (half / name).read_bytes()
    record = json.loads((tmp_path / "out" / "budget.json").read_text())
    meta = json.loads((tmp_path / "out" / "run_meta.json").read_text())
    assert record["exported"]["bytes"] == meta["metrics"]["bytes"]
    assert meta["kind"] == "budget-export"
    assert meta["written"] == ["."]


def test_a_model_that_changed_is_refused(tmp_path, half):
    plan = planned(half, BITS)
    other = dataclasses.replace(plan.chosen[0].matrix.kept[0], shape=(3, 64))
    matrix = dataclasses.replace(plan.chosen[0].matrix, kept=(other,))
    first = dataclasses.replace(plan.chosen[0], matrix=matrix)
    changed = dataclasses.replace(plan, chosen=(first, *plan.chosen[1:]))
    with pytest.raises(ResultError, match="is not the tensor that was measured"):
        export_budget(changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
