"""Encoders."""

from referees.architectures.cases import (
    OTHER_SHAPES,
    SEVERAL,
    UNKNOWN,
    case,
    cases,
    judge,
)

ENCODERS = (
    case("AlbertForMaskedLM"),
    case("BertForMaskedLM"),
    case("BigBirdForMaskedLM", attention_type="original_full"),
    case("CamembertForMaskedLM"),
    case("ConvBertForMaskedLM", both=OTHER_SHAPES),
    case("Data2VecTextForMaskedLM"),
    case("DebertaForMaskedLM"),
    case("DebertaV2ForMaskedLM"),
    case("DistilBertForMaskedLM"),
    case("ElectraForMaskedLM"),
    case("ErnieForMaskedLM"),
    case("EsmForMaskedLM"),
    case("EuroBertForMaskedLM"),
    case("FlaubertWithLMHeadModel"),
    case("GteForMaskedLM", gate=True),
    case("JinaEmbeddingsV3ForMaskedLM"),
    case("LayoutLMForMaskedLM"),
    case("LongformerForMaskedLM", both=SEVERAL, attention_window=[4, 4]),
    case("MPNetForMaskedLM"),
    case("MegatronBertForMaskedLM"),
    case("MobileBertForMaskedLM", qk=OTHER_SHAPES, ov=SEVERAL),
    case("ModernBertForMaskedLM", gate=True),
    case("MraForMaskedLM", both=UNKNOWN),
    case(
        "NeoMMEForMaskedLM",
        qk="left out: learned scale, norm of queries or keys",
        ov="left out: learned scale, gate before W_o",
        head_dim=16,
    ),
    case("NomicBertForMaskedLM"),
    case(
        "NystromformerForMaskedLM",
        qk="noted: convolution over tokens, unknown",
        ov="left out: convolution over tokens, unknown",
    ),
    case("RoCBertForMaskedLM"),
    case("RobertaForMaskedLM"),
    case("RobertaPreLayerNormForMaskedLM"),
    case("SqueezeBertForMaskedLM", qk=SEVERAL, ov="skipped: no o_proj"),
    case("T5EncoderModel"),
    case("TapasForMaskedLM"),
    case("UltrabertForMaskedLM"),
    case("XLMRobertaXLForMaskedLM"),
    case("XLMWithLMHeadModel"),
    case("XmodForMaskedLM", languages=["en_XX"], default_language="en_XX"),
    case("YosoForMaskedLM", both=UNKNOWN),
)


@cases(ENCODERS)
def test_parts_and_heads_are_those_of_the_running_model(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
