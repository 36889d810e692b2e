"""What is learned is the assistant's, to the token; a template that hides it is refused."""

import shutil

import pytest
from tuning import TOOL, conversation

from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.tune.rendering import TemplateError, render

# Earlier answers lose what the last one has, as in Qwen3's.
FORGETS = (
    "{%- for m in messages -%}<|im_start|>{{ m.role }}\n"
    "{%- if m.role == 'assistant' and loop.last %}<think></think>{% endif -%}"
    "{{ m.content }}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)
# Whoever asks is named in front, and only while there is no answer.
HIDES = (
    "{% if add_generation_prompt %}?{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
)


@pytest.fixture
def tokenizer(talker):
    return load_tokenizer(talker)


def with_template(talker, tmp_path, template):
    folder = shutil.copytree(talker, tmp_path / "other")
    (folder / "chat_template.jinja").write_text(template)
    return load_tokenizer(folder)


def texts(tokenizer, part):
    """What is learned, piece by piece."""
    pieces, last = [], False
    for token, learned in zip(part.tokens, part.learned, strict=True):
        if learned and not last:
            pieces.append([])
        if learned:
            pieces[-1].append(int(token))
        last = learned
    return [tokenizer.decode(piece, special=True) for piece in pieces]


def test_answers_with_their_ends(tokenizer):
    (part,) = render(tokenizer, conversation(7, turns=2)["messages"])
    assert texts(tokenizer, part) == ["not 7<|im_end|>", "not 7<|im_end|>"]
    # Nothing behind the last answer, and its prompt is what a model is given.
    asked = tokenizer.encode_special(tokenizer.chat(conversation(7, turns=2)["messages"][:-1]))
    assert part.tokens[: len(asked)].tolist() == asked
    assert part.learned[len(asked) :].all()


def test_a_template_that_writes_earlier_answers_otherwise(talker, tmp_path):
    tokenizer = with_template(talker, tmp_path, FORGETS)
    parts = render(tokenizer, conversation(7, turns=2)["messages"])
    assert [texts(tokenizer, part) for part in parts] == [["<think></think>not 7<|im_end|>"]] * 2


def test_a_template_that_hides_where_an_answer_begins(talker, tmp_path):
    tokenizer = with_template(talker, tmp_path, HIDES)
    with pytest.raises(TemplateError, match="where the answer begins is unknown"):
        render(tokenizer, conversation(7)["messages"])


def test_tools_are_read_and_not_learned(tokenizer):
    messages = conversation(7)["messages"]
    messages[-1] = {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "be", "arguments": {"a": 1}}}],
    }
    (part,) = render(tokenizer, messages, [TOOL])
    assert texts(tokenizer, part) == ['{"name": "be", "arguments": {"a": 1}}<|im_end|>']
    assert '"parameters"' in tokenizer.decode(part.tokens.tolist())


def test_nobody_answers(tokenizer):
    assert render(tokenizer, [{"role": "user", "content": "?"}]) == []
