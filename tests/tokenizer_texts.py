"""Texts that the tests train tokenizers on, and strings that are hard to encode."""

import random

from project import ROOT

# Prose, tables and code: enough for some thousand tokens.
TEXT = (ROOT / "README.md").read_text("utf-8") + "\tdef f(x):\r\n\t\treturn x  \n" * 30
# Li Bai, Wang Wei, Du Fu, Meng Haoran, Wang Zhihuan.
POEMS = """床前明月光,疑是地上霜。舉頭望明月,低頭思故鄉。
空山不見人,但聞人語響。返景入深林,復照青苔上。
國破山河在,城春草木深。感時花濺淚,恨別鳥驚心。
春眠不覺曉,處處聞啼鳥。夜來風雨聲,花落知多少。
白日依山盡,黃河入海流。欲窮千里目,更上一層樓。
"""
HARD = [
    "",
    " ",
    "  two  spaces  ",
    "\u2581", " \u2581 \u2581\u2581x",  # how SentencePiece writes a space
    "\n\r\n\t\x00\x1f\x7f\x85\u2028",
    "<|im_start|>user\n</s><unk><|endoftext|><|pad|><|tool|><0x41>",
    "e\u0301 \u0301\u0301", "\u200d\ufeff\ufffd\ufffe",
    "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL} \N{REGIONAL INDICATOR SYMBOL LETTER D}",
    "\ue000\U000f0000\U0010ffff", "\u2409\u2585", "aaaaaaaabababa",
    "1234567890 3.14", "日本語テキスト、한국어 हिन्दी العربية",
]  # fmt: skip


def _character(draw):
    kind = draw.randrange(4)
    if kind == 0:
        return chr(draw.choice([draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)]))
    if kind == 1:
        return chr(draw.randrange(128))
    return draw.choice(" \n\tab\u2581\u2409\u3000") if kind == 2 else draw.choice(POEMS)


def _part(draw):
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(HARD)
    if kind == 1:
        start = draw.randrange(len(TEXT))
        return TEXT[start : start + draw.randrange(30)]
    return draw.choice("ab ") * draw.randrange(6) if kind == 2 else _character(draw)


def random_strings(count, seed=0):
    """Strings of characters of all planes, of text, and of what is hard to encode."""
    draw = random.Random(seed)
    return ["".join(_part(draw) for _ in range(draw.randrange(16))) for _ in range(count)]


STRINGS = HARD + random_strings(1000)
