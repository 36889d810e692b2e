"""Encoders with decoders: self-attention of both, and cross-attention."""

from referees.architectures.cases import (
    RIGHT,
    SEVERAL,
    case,
    cases,
    judge,
)

PAIRS = (
    case("BartForConditionalGeneration"),
    case("BigBirdPegasusForConditionalGeneration", attention_type="original_full"),
    case("BlenderbotForConditionalGeneration"),
    case("FSMTForConditionalGeneration"),
    case("LEDForConditionalGeneration", both=(RIGHT, SEVERAL), attention_window=4),
    case("M2M100ForConditionalGeneration"),
    case("MBartForConditionalGeneration"),
    case("MT5ForConditionalGeneration"),
    case("MarianMTModel"),
    case("MvpForConditionalGeneration"),
    case("NllbMoeForConditionalGeneration"),
    case("PLBartForConditionalGeneration"),
    case("PegasusForConditionalGeneration"),
    case("SwitchTransformersForConditionalGeneration"),
    case("UMT5ForConditionalGeneration"),
)


@cases(PAIRS)
def test_parts_and_heads_are_those_of_the_running_model(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
