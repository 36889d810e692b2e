"""Names against golden tables; each table's first line says where its names come from."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from project import DATA

from mlx_probe.checkpoint.naming import classify as naming
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.naming.familiar import FAMILIAR
from mlx_probe.checkpoint.naming.rules import COMPONENTS, PIECES, RULES, SCOPES
from mlx_probe.core.records import Role

NAMES = DATA / "names"
PREFIXES = ("", "model.", "language_model.model.", "transformer.", "gpt_neox.", "bert.", "module.")
# Family -> fewest architectures that its table must have.
FAMILIES = {"transformers": 350, "mlx_lm": 120, "gguf": 120}
# GGUF numbers convolutions and parts of projectors the way it numbers layers.
NO_LAYER_IN_GGUF = r"a\.conv[12]d|mm\.|v\.deepstack|v\.sam\.neck"
# Names of the families that no rule knows: pattern -> why not.
EXPLAINED: dict[str, str] = {}
# Without a component: they belong to activations between the modules.
EXPLAINED_COMPONENT = {
    r"act(ivation|s?\d?)?\.|_act\.|_activation\.": "I-BERT's ranges of activations",
    r"fc_scaling_factor": "I-BERT's scales of a layer's output",
}


def golden(path: Path) -> dict[str, Role]:
    """One architecture whole, with its numbers: name, block type, component, layer, expert."""
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, block_type, component, *indices = line.split()
        layer, expert = (None if index == "-" else int(index) for index in indices)
        table[name] = Role(block_type, component, layer, expert)
    return table


def generated(family: str) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Architectures of a family, and its names with ``<layer>`` and ``<expert>`` in them."""
    architectures, table = [], {}
    text = (NAMES / "generated" / f"{family}.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("## "):
            architectures.append(line[3:].split(":")[0])
        elif not line.startswith("#"):
            name, block_type, component = line.split("\t")
            table[name] = block_type, component
    return architectures, table


def numbered(name: str, role: tuple[str, str], layer: int, expert: int) -> tuple[str, Role]:
    full = name.replace("<layer>", str(layer)).replace("<expert>", str(expert))
    return full, Role(
        *role, layer if "<layer>" in name else None, expert if "<expert>" in name else None
    )


GENERATED = {family: generated(family) for family in FAMILIES}
GOLDEN = {path.stem: golden(path) for path in sorted(NAMES.glob("*.txt"))}
ALL_NAMES = {name: role for table in GOLDEN.values() for name, role in table.items()}
IN_A_BLOCK = sorted(name for name, role in ALL_NAMES.items() if role.layer_index is not None)

BEYOND_THE_LISTS = {
    "classifier.bias": Role("output", "output"),
    "score.weight": Role("output", "output"),
    "model.layers.0.linear_attn.conv1d.weight": Role("conv", "ssm", 0),
    "blk.0.ssm_conv1d.weight": Role("conv", "ssm", 0),
    "model.layers.4.mlp.shared_experts.up_proj.weight": Role("up_proj", "moe", 4),
    "layers.2.feed_forward.gate.weight": Role("router", "moe", 2),
    "layers.2.feed_forward.experts.7.w2.weight": Role("down_proj", "moe", 2, 7),
    "blk.7.attn_q.bias": Role("q_proj", "attention", 7),
    "blk.7.attn_output_norm.bias": Role("norm", "norm", 7),
    "encoder.layer.3.attention.output.weight": Role("o_proj", "attention", 3),
    # The first Qwen: c_proj(w1(x) * silu(w2(x))).
    "transformer.h.3.mlp.w1.weight": Role("up_proj", "mlp", 3),
    "transformer.h.3.mlp.w2.weight": Role("gate_proj", "mlp", 3),
    # AllenAI's own OLMo.
    "model.transformer.blocks.3.att_proj.weight": Role("qkv_proj", "attention", 3),
    "model.transformer.blocks.3.attn_out.weight": Role("o_proj", "attention", 3),
    "model.transformer.blocks.3.ff_proj.weight": Role("up_gate_proj", "mlp", 3),
    "model.transformer.blocks.3.ff_out.weight": Role("down_proj", "mlp", 3),
    # Stacked experts.
    "model.layers.2.mlp.experts.gate_up_proj_bias": Role("gate_up_proj", "moe", 2),
    "model.layers.2.mlp.switch_mlp.gate_proj.weight": Role("gate_proj", "moe", 2),
    # DeepSeek's multi-token prediction, a block behind the last.
    "model.layers.61.eh_proj.weight": Role("eh_proj", "mtp", 61),
    "model.layers.61.enorm.weight": Role("norm", "mtp", 61),
    "model.layers.61.hnorm.weight": Role("norm", "mtp", 61),
    "model.layers.61.shared_head.norm.weight": Role("norm", "mtp", 61),
    "model.layers.61.shared_head.head.weight": Role("output", "mtp", 61),
    "mtp.fc.weight": Role("eh_proj", "mtp"),
    "mtp.layers.0.self_attn.q_proj.weight": Role("q_proj", "mtp", 0),
    "mtp.layers.0.mlp.experts.3.up_proj.weight": Role("up_proj", "mtp", 0, 3),
    "model.mtp_layers.1.input_proj.weight": Role("eh_proj", "mtp", 1),
    "logit_scale": Role("logit_scale", "output"),
    # Gemma 3n's vision tower is built by another library.
    "model.embed_vision.embedding_projection.weight": Role("embedding_projection", "projector"),
}
LAYER = "model.layers.4.self_attn.q_proj"
PEFT = f"base_model.model.{LAYER}"
MLP = "model.layers.4.mlp"
# What belongs to a weight.
OF_A_WEIGHT = {
    f"{PEFT}.lora_A.weight": Role("lora_a", "attention", 4),
    f"{PEFT}.lora_A.default.weight": Role("lora_a", "attention", 4),
    f"{PEFT}.lora_B.default.bias": Role("lora_b", "attention", 4),
    f"{PEFT}.lora_magnitude_vector": Role("dora_magnitude", "attention", 4),
    f"{PEFT}.lora_magnitude_vector.default.weight": Role("dora_magnitude", "attention", 4),
    f"{PEFT}.base_layer.weight": Role("q_proj", "attention", 4),
    "base_model.model.model.embed_tokens.lora_embedding_A": Role("lora_a", "embedding"),
    "base_model.model.model.embed_tokens.lora_embedding_B.default": Role("lora_b", "embedding"),
    "base_model.model.lm_head.modules_to_save.default.weight": Role("output", "output"),
    f"{LAYER}.lora_a": Role("lora_a", "attention", 4),
    f"{MLP}.experts.7.up_proj.lora_b": Role("lora_b", "moe", 4, 7),
    f"{MLP}.switch_mlp.up_proj.lora_b": Role("lora_b", "moe", 4),
    f"{LAYER}.m": Role("dora_magnitude", "attention", 4),
    "model.layers.4.unknown.lora_A.weight": Role("lora_a", "other", 4),
    f"{MLP}.experts.7.up_proj.weight_scale_inv": Role("quantization", "moe", 4, 7),
    f"{MLP}.experts.gate_up_proj_scales": Role("quantization", "moe", 4),
    f"{MLP}.experts.down_proj_blocks": Role("quantization", "moe", 4),
    f"{MLP}.down_proj.weight.quant_state.bitsandbytes__nf4": Role("quantization", "mlp", 4),
    "model.layers.4.self_attn.k_scale": Role("quantization", "attention", 4),
    "model.layers.4.self_attn.kv_cache_scale": Role("quantization", "attention", 4),
    "layers.4.ffn.experts.7.w1.scale": Role("quantization", "moe", 4, 7),
    "model.embed_tokens.scales": Role("quantization", "embedding"),
    "vision_tower.layers.4.mlp.fc1.weight_scale": Role("quantization", "vision", 4),
    **{
        f"{MLP}.down_proj.{piece}": Role("quantization", "mlp", 4)
        for piece in (
            *("weight_scale", "weight_scale_2", "input_scale", "activation_scale", "output_scale"),
            *("weight_global_scale", "weight_zero_point", "weight_packed", "weight_shape", "SCB"),
            *("qweight", "qzeros", "scales", "biases", "g_idx", "weight.absmax", "input_amax"),
            *(
                "weight._data",
                "weight._data._data",
                "weight._scale",
                "weight._shift",
                "q_scale_max",
            ),
        )
    },
}
# Close to something known; a wrong role is worse than none.
NOT_KNOWN = {
    "": Role("other", "other"),
    "linear.weight": Role("other", "other"),
    "lm_head.weight\n": Role("other", "other"),
    "my_lm_head.weight": Role("other", "other"),
    "model.layers.12.mlp.gate_projection.weight": Role("other", "other", 12),
    "model.layers.12.mlp.experts.5.mystery": Role("other", "other", 12, 5),
    "vision_tower.layers.12.mystery.weight": Role("other", "vision", 12),
    "encoder.layer.3.cls.weight": Role("other", "other", 3),
    "model.layers.3x.mystery.weight": Role("other", "other"),
    "model.sublayers.3.mystery.weight": Role("other", "other"),
    "model.layers.3.mystery.m": Role("other", "other", 3),
    "my_vision_tower.mystery.weight": Role("other", "other"),
    "model.layers.3.mlp.proj.weight": Role("other", "other", 3),
}
SINGLE = {**BEYOND_THE_LISTS, **OF_A_WEIGHT, **NOT_KNOWN}
# Every name that the tables know, as the rules see it.
EVERY_NAME = [
    *ALL_NAMES,
    *BEYOND_THE_LISTS,
    *OF_A_WEIGHT,
    *(numbered(n, r, 11, 3)[0] for _, table in GENERATED.values() for n, r in table.items()),
]


@pytest.mark.parametrize("family", GOLDEN)
def test_golden_table(family: str) -> None:
    assert {name: classify(name) for name in GOLDEN[family]} == GOLDEN[family]


def test_golden_tables_are_whole() -> None:
    assert len(GOLDEN["smollm2_gguf"]) == 272
    assert {r.layer_index for r in GOLDEN["smollm2_gguf"].values()} == {None, *range(30)}
    assert len(GOLDEN["minilm"]) == 104


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("layer", "expert"), [(0, 0), (1, 12), (93, 255)])
def test_generated_table(family: str, layer: int, expert: int) -> None:
    _, table = GENERATED[family]
    expected = dict(numbered(name, role, layer, expert) for name, role in table.items())
    assert {name: classify(name) for name in expected} == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_table_is_whole(family: str) -> None:
    architectures, table = GENERATED[family]
    assert len(set(architectures)) >= FAMILIES[family]
    others = {name for name, (block_type, _) in table.items() if block_type == "other"}
    assert not {n for n in others if not any(re.search(p, n) for p in EXPLAINED)}
    nowhere = {name for name, (_, component) in table.items() if component == "other"}
    assert not {n for n in nowhere if not any(re.search(p, n) for p in EXPLAINED_COMPONENT)}


def test_no_name_of_a_known_family_is_other() -> None:
    roles = [(name, classify(name)) for name in ALL_NAMES]
    assert not [name for name, role in roles if "other" in (role.block_type, role.component)]


@pytest.mark.parametrize("name", SINGLE)
def test_single_name(name: str) -> None:
    assert classify(name) == SINGLE[name]


def shape(name: str) -> str:
    """The name as the rules see it: ``#`` for the numbers of layer and expert."""
    matches = (pattern.search(name) for pattern in (naming._LAYER_INDEX, naming._EXPERT_INDEX))
    for match in sorted((m for m in matches if m), key=lambda m: -m.start(1)):
        name = f"{name[: match.start(1)]}#{name[match.end(1) :]}"
    return name


@pytest.mark.slow
def test_every_rule_scope_and_piece_decides_some_name() -> None:
    decisions = {naming.deciding(name) for name in set(map(shape, EVERY_NAME))}
    rows = {row for row, _ in decisions}
    assert [row for row in (*RULES, *PIECES) if row not in rows] == []
    scopes = {scope for _, scope in decisions}
    assert [scope for scope in SCOPES if scope not in scopes] == []


def test_rules_and_scopes_have_known_components() -> None:
    components = {rule.component for rule in RULES} | {scope.component for scope in SCOPES}
    assert components <= set(COMPONENTS)


def test_gguf_lists_every_name_of_its_library() -> None:
    gguf = pytest.importorskip("gguf.constants")
    used = {tensor for tensors in gguf.MODEL_TENSORS.values() for tensor in tensors}
    for pattern in (gguf.TENSOR_NAMES[tensor] for tensor in used):
        for suffix in ("", ".weight", ".bias"):
            name = pattern.format(bid=11, xid=3) + suffix
            role = classify(name)
            assert role.block_type != "other", name
            assert role == classify(f"{pattern.format(bid=11, xid=3)}.weight")
            numbers = "{bid}" in pattern and not re.match(NO_LAYER_IN_GGUF, pattern)
            assert role.layer_index == (11 if numbers else None), name


def test_familiar_names_have_the_roles_that_the_rules_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "FAMILIAR", {})
    naming._type_and_component.cache_clear()
    by_rules = {name: naming._type_and_component(name) for name in FAMILIAR}
    naming._type_and_component.cache_clear()
    assert by_rules == FAMILIAR


@settings(deadline=None)
@given(
    name=st.sampled_from(IN_A_BLOCK),
    prefix=st.sampled_from(PREFIXES),
    layer=st.integers(0, 200),
    expert=st.integers(0, 511),
)
def test_indices_survive_any_prefix(name: str, prefix: str, layer: int, expert: int) -> None:
    role = ALL_NAMES[name]
    moved = re.sub(r"(layers?|blk|h)\.\d+", rf"\g<1>.{layer}", name, count=1)
    if role.expert_index is not None:
        moved = re.sub(r"(experts|ffn_\w+)\.\d+", rf"\g<1>.{expert}", moved)
    expected_expert = None if role.expert_index is None else expert
    assert classify(prefix + moved) == Role(role.block_type, role.component, layer, expected_expert)


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(n for n in GENERATED["transformers"][1] if "<layer>" in n)),
    piece=st.sampled_from([".lora_A.weight", ".lora_B.default.weight", ".weight_scale_inv"]),
    layer=st.integers(0, 200),
    expert=st.integers(0, 511),
)
@example("model.llm.layers.<layer>.attn_sconv.weight", ".lora_A.weight", 0, 0)
@example("model.llm.layers.<layer>.mlp_sconv.weight", ".weight_scale_inv", 0, 0)
def test_a_piece_has_the_layer_and_component_of_its_weight(
    name: str, piece: str, layer: int, expert: int
) -> None:
    weight, role = numbered(name, GENERATED["transformers"][1][name], layer, expert)
    of_piece = classify(weight.removesuffix(".weight") + piece)
    assert (of_piece.layer_index, of_piece.expert_index) == (role.layer_index, role.expert_index)
    assert of_piece.block_type in ("lora_a", "lora_b", "quantization")
    if role.block_type != "quantization" and not name.endswith(".bias"):
        assert of_piece.component == role.component


@settings(deadline=None)
@given(st.text(st.sampled_from("abh.019_experts\n") | st.characters(), max_size=60))
def test_any_name_has_a_role(name: str) -> None:
    assert classify(name).component in COMPONENTS


@pytest.mark.parametrize("index", ["9" * 10, "9" * 5000, "-1", "٣"])
def test_absurd_index_is_no_index(index: str) -> None:
    assert classify(f"layers.{index}.mlp.up_proj.weight") == Role("up_proj", "mlp")


@pytest.mark.parametrize(
    "name", ["a." * 20_000, "a" * 200_000, "norm_" * 20_000 + ".", "h.0." * 9999]
)
def test_absurd_name_takes_no_absurd_time(name: str) -> None:
    begin = time.process_time()
    classify(name)
    assert time.process_time() - begin < 5
