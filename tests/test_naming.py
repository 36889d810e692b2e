"""Names against golden tables; each table's first line says where its names come from."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.naming import RULES, classify
from mlx_probe.records import Role

NAMES = Path(__file__).parent / "data" / "names"
COMPONENTS = {"embedding", "attention", "mlp", "moe", "norm", "output", "other"}
PREFIXES = ("", "model.", "language_model.model.", "transformer.", "gpt_neox.", "bert.", "module.")
GGUF_ARCHITECTURES = (
    *("LLAMA", "QWEN2", "QWEN3", "QWEN2MOE", "QWEN3MOE", "GEMMA", "GEMMA2", "GEMMA3"),
    *("PHI2", "PHI3", "GPT2", "GPTNEOX", "BERT"),
)


def golden(path: Path) -> dict[str, Role]:
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, block_type, component, *indices = line.split()
        layer, expert = (None if index == "-" else int(index) for index in indices)
        table[name] = Role(block_type, component, layer, expert)
    return table


GOLDEN = {path.stem: golden(path) for path in sorted(NAMES.glob("*.txt"))}
ALL_NAMES = {name: role for table in GOLDEN.values() for name, role in table.items()}
IN_A_BLOCK = sorted(name for name, role in ALL_NAMES.items() if role.layer_index is not None)

BEYOND_THE_LISTS = {
    "classifier.bias": Role("output", "output"),
    "score.weight": Role("output", "output"),
    "model.layers.0.linear_attn.conv1d.weight": Role("conv", "other", 0),
    "blk.0.ssm_conv1d.weight": Role("conv", "other", 0),
    "model.layers.4.mlp.shared_experts.up_proj.weight": Role("up_proj", "moe", 4),
    "layers.2.feed_forward.gate.weight": Role("router", "moe", 2),
    "layers.2.feed_forward.experts.7.w2.weight": Role("down_proj", "moe", 2, 7),
    "blk.7.attn_q.bias": Role("q_proj", "attention", 7),
    "blk.7.attn_output_norm.bias": Role("norm", "norm", 7),
}
# Close to something known; a wrong role is worse than none.
NOT_KNOWN = {
    "": Role("other", "other"),
    "linear.weight": Role("other", "other"),
    "lm_head.weight\n": Role("other", "other"),
    "my_lm_head.weight": Role("other", "other"),
    "model.layers.12.mlp.gate_projection.weight": Role("other", "other", 12),
    "model.layers.12.self_attn.gate_proj.weight": Role("other", "other", 12),
    "model.layers.12.mlp.up_proj.weight_scale_inv": Role("other", "other", 12),
    "model.layers.12.mlp.experts.5.mystery": Role("other", "other", 12, 5),
    # The first Qwen's w2 is no down_proj, as it would be in an expert of Mixtral's.
    "transformer.h.3.mlp.w2.weight": Role("other", "other", 3),
    "encoder.layer.3.attention.output.weight": Role("other", "other", 3),
    "encoder.layer.3.cls.weight": Role("other", "other", 3),
    "model.layers.3x.mystery.weight": Role("other", "other"),
    "model.sublayers.3.mystery.weight": Role("other", "other"),
}


@pytest.mark.parametrize("family", GOLDEN)
def test_golden_table(family: str) -> None:
    assert {name: classify(name) for name in GOLDEN[family]} == GOLDEN[family]


def test_golden_tables_are_whole() -> None:
    assert len(GOLDEN["smollm2_gguf"]) == 272
    assert {r.layer_index for r in GOLDEN["smollm2_gguf"].values()} == {None, *range(30)}
    assert len(GOLDEN["minilm"]) == 104


def test_no_name_of_a_known_family_is_other() -> None:
    roles = [(name, classify(name)) for name in ALL_NAMES]
    assert not [name for name, role in roles if "other" in (role.block_type, role.component)]


@pytest.mark.parametrize("name", [*BEYOND_THE_LISTS, *NOT_KNOWN])
def test_single_name(name: str) -> None:
    assert classify(name) == {**BEYOND_THE_LISTS, **NOT_KNOWN}[name]


def test_every_rule_decides_some_name() -> None:
    winners = {
        next((i for i, rule in enumerate(RULES) if rule.pattern.search(name)), None)
        for name in [*ALL_NAMES, *BEYOND_THE_LISTS]
    }
    assert winners == set(range(len(RULES)))


def test_rules_speak_the_components_of_the_table() -> None:
    assert {rule.component for rule in RULES} <= COMPONENTS


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES)
@pytest.mark.parametrize("suffix", ["weight", "bias"])
def test_every_gguf_name_is_known(architecture: str, suffix: str) -> None:
    gguf = pytest.importorskip("gguf.constants")
    for tensor in gguf.MODEL_TENSORS[gguf.MODEL_ARCH[architecture]]:
        pattern = gguf.TENSOR_NAMES[tensor]
        name = f"{pattern.format(bid=11, xid=3)}.{suffix}"
        role = classify(name)
        assert role.block_type != "other", name
        assert role.layer_index == (11 if "{bid}" in pattern else None), name
        assert role == classify(name.removesuffix(suffix) + "weight")


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
@given(st.text(st.sampled_from("abh.019_experts\n") | st.characters(), max_size=60))
def test_any_name_has_a_role(name: str) -> None:
    assert classify(name).component in COMPONENTS


@pytest.mark.parametrize("index", ["9" * 10, "9" * 5000, "-1", "٣"])
def test_absurd_index_is_no_index(index: str) -> None:
    assert classify(f"layers.{index}.mlp.up_proj.weight") == Role("up_proj", "mlp")
