"""Tokenizers in the file: tokens, types, ends, and those that would give other ids."""

import json

import pytest
from exported import export, metadata, write_config
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer
from mlx_probe.lab.export.gguf.vocabulary import read_vocabulary
from mlx_probe.lab.export.gguf.vocabulary.byte_level import PRE_TOKENIZERS

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@pytest.fixture
def made(tmp_path):
    """Makes a tokenizer, changes its files, and reads it for a model of some size."""

    def make(kind="bytes", json_changes=None, config_changes=None, size=330, **settings):
        folder = tmp_path / "tokenizer"
        if not folder.exists():
            train_tokenizer(TokenizerConfig(kind=kind, **settings), 320, TEXTS, folder)
        change(folder / "tokenizer.json", json_changes)
        change(folder / "tokenizer_config.json", config_changes)
        return read_vocabulary(folder, tmp_path, size)

    return make


def change(path, edit):
    if edit is not None:
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))


def test_pieces(tmp_path, made):
    vocabulary = made("sentencepiece")
    core = vocabulary.core
    assert (core.model, core.pre, core.space_prefix) == ("llama", "default", False)
    tokens, types = vocabulary.tokens, vocabulary.types
    assert tokens[:6] == [
        "<unk>",
        "<|endoftext|>",
        "<|pad|>",
        "<|im_start|>",
        "<|im_end|>",
        "<0x00>",
    ]
    assert types[:6] == [UNKNOWN, CONTROL, CONTROL, CONTROL, CONTROL, BYTE]
    # Spaces are written as SentencePiece does, and the longer piece was learned later.
    assert "\u2581t" in tokens
    assert not [token for token in tokens if " " in token]
    learned = range(tokens.index("<0xFF>") + 1, 320)
    assert [core.scores[i] for i in learned] == [-float(i) for i in range(len(learned))]
    assert tokens[320:] == [f"[PAD{i}]" for i in range(320, 330)]
    assert types[320:] == [UNUSED] * 10
    assert "U+2581" in vocabulary.notes[0]


@pytest.mark.parametrize(("split_digits", "pre"), [(True, "smollm"), (False, "gpt-2")])
def test_bytes(tmp_path, made, split_digits, pre):
    vocabulary = made(split_digits=split_digits)
    described = json.loads((tmp_path / "tokenizer" / "tokenizer.json").read_text())["model"]
    assert (vocabulary.core.model, vocabulary.core.pre) == ("gpt2", pre)
    assert vocabulary.core.merges == [" ".join(pair) for pair in described["merges"]]
    by_id = {number: token for token, number in described["vocab"].items()}
    assert vocabulary.tokens[:320] == [by_id[i] for i in range(320)]
    assert vocabulary.types == [CONTROL] * 4 + [NORMAL] * 316 + [UNUSED] * 10
    assert vocabulary.notes == ()


def test_the_whole_file(tmp_path):
    for kind, model in [("sentencepiece", "llama"), ("bytes", "gpt2")]:
        tokenizer = make_tokenizer(tmp_path / kind, kind)
        folder = make_model(tmp_path / "model", tokenizer)
        export(folder, tmp_path / "m.gguf")
        said = {
            name.removeprefix("tokenizer."): value
            for name, value in metadata(tmp_path / "m.gguf").items()
        }
        assert said["ggml.model"] == model
        assert said["ggml.bos_token_id"] == said["ggml.eos_token_id"] == tokenizer.eos_id
        assert said["ggml.padding_token_id"] == tokenizer.pad_id
        assert (said["ggml.eot_token_id"],) == tuple(set(tokenizer.stop_ids) - {tokenizer.eos_id})
        for flag in ("add_bos_token", "add_eos_token", "add_space_prefix"):
            assert said[f"ggml.{flag}"] is False
        assert said["chat_template"] == tokenizer.chat_template
        assert len(said["ggml.tokens"]) == len(said["ggml.token_type"]) == 320
        assert ("ggml.scores" in said) == (model == "llama") != ("ggml.merges" in said)


def test_added_tokens(made):
    def add(described):
        described["added_tokens"] += [
            {"id": 320, "content": "<think>", "special": False, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False},
            {"id": 322, "content": "<tool>", "special": True, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False},
        ]  # fmt: skip

    vocabulary = made(json_changes=add)
    assert vocabulary.tokens[320:324] == ["<think>", "[PAD321]", "<tool>", "[PAD323]"]
    assert vocabulary.types[320:324] == [USER_DEFINED, UNUSED, CONTROL, UNUSED]


def template(before, behind):
    """A post-processor that puts tokens around a text."""
    names = [name for name, _ in (*before, *behind)]
    parts = [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]
    parts.insert(len(before), {"Sequence": {"id": "A", "type_id": 0}})
    special = {
        name: {"id": name, "ids": [number], "tokens": [name]} for name, number in (*before, *behind)
    }
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": special}


def test_what_is_put_around_a_text(made):
    end = ("<|endoftext|>", 0)
    ends = made(json_changes=lambda d: d.update(post_processor=template([end], []))).ends
    assert (ends.adds_bos, ends.adds_eos) == (True, False)
    ends = made(json_changes=lambda d: d.update(post_processor=template([], [end]))).ends
    assert (ends.adds_bos, ends.adds_eos) == (False, True)
    other = template([("<|im_start|>", 2)], [])
    with pytest.raises(CheckpointError, match=r"puts the tokens \[2\] before"):
        made(json_changes=lambda d: d.update(post_processor=other))


def test_ends_of_the_model(tmp_path, made):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    ends = made(chat_template="none", config_changes=lambda c: c.update(eos_token=None)).ends
    assert (ends.bos, ends.eos, ends.eot) == (0, 7, 9)
    (tmp_path / "generation_config.json").unlink()
    with pytest.raises(CheckpointError, match="no token ends a text"):
        made()


def set_model(**values):
    return lambda described: described["model"].update(values)


def cut(*steps):
    return lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": list(steps)})


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True, "trim_offsets": True}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (cut(BYTES | {"add_prefix_space": True}), "text is cut by"),
        (cut({"type": "Digits", "individual_digits": False}, BYTES), "text is cut by"),
        (cut(BYTES, {"type": "Digits", "individual_digits": True}), "text is cut by"),
        (cut({"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Isolated", "invert": False},
             BYTES | {"use_regex": False}), "text is cut by"),
        (set_model(ignore_merges=True), "text is cut by"),
        (set_model(end_of_word_suffix="</w>"), "model.end_of_word_suffix is set"),
        (set_model(merges=[]), "there are no merges"),
        (lambda d: d.update(normalizer={"type": "Lowercase"}), "the normalizer is"),
        (lambda d: d["added_tokens"][0].update(id=400), "has the id 400 of 330"),
    ],
)  # fmt: skip
def test_byte_level_ones_that_llama_cpp_lacks(made, edit, says):
    with pytest.raises(CheckpointError, match=says):
        made(json_changes=edit)


def test_a_tokenizer_with_more_tokens_than_the_model(made):
    with pytest.raises(CheckpointError, match="320 tokens, and the model has room for 300"):
        made(size=300)


def test_normal_forms_are_noted(made):
    notes = made(json_changes=lambda d: d.update(normalizer={"type": "NFC"})).notes
    assert "NFC" in notes[0]


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_known_cut_is_found(made, name):
    known = PRE_TOKENIZERS[name]
    forms = {
        "ByteLevel": lambda regex: BYTES | {"use_regex": regex != ""},
        "Digits": lambda: {"type": "Digits", "individual_digits": True},
        "Split": lambda regex: {
            "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False
        },
    }  # fmt: skip

    def edit(described):
        cut(*(forms[kind](*more) for kind, *more in known.cuts))(described)
        described["model"]["ignore_merges"] = known.ignores_merges

    assert made(json_changes=edit).core.pre == name


def test_other_kinds(tmp_path, made):
    made()
    folder = tmp_path / "tokenizer"
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
    change(folder / "tokenizer.json", lambda d: d.update(model=model, added_tokens=[]))
    with pytest.raises(CheckpointError, match="of kind WordLevel has no form"):
        read_vocabulary(folder, tmp_path, 330)


def test_a_model_file_that_does_not_fit(tmp_path, made):
    made("sentencepiece")
    path = tmp_path / "tokenizer" / "tokenizer.model"
    sound = path.read_bytes()
    # Another text, another vocabulary.
    make_tokenizer(tmp_path / "other", texts=("completely different words, again and again",),
                   vocabulary=290)  # fmt: skip
    path.write_bytes((tmp_path / "other" / "tokenizer.model").read_bytes())
    with pytest.raises(CheckpointError, match=r"and not in tokenizer.json"):
        made("sentencepiece")
    path.write_bytes(sound[:-100])
    with pytest.raises(CheckpointError, match="no SentencePiece model"):
        made("sentencepiece")
    path.write_bytes(changed(sound, lambda proto: setattr(proto.trainer_spec, "model_type", 1)))
    with pytest.raises(CheckpointError, match="no BPE with byte fallback"):
        made("sentencepiece")
    strips = lambda proto: setattr(proto.normalizer_spec, "remove_extra_whitespaces", True)  # noqa: E731
    path.write_bytes(changed(sound, strips))
    with pytest.raises(CheckpointError, match="it normalizes text"):
        made("sentencepiece")
    prefix = lambda proto: setattr(proto.normalizer_spec, "add_dummy_prefix", True)  # noqa: E731
    path.write_bytes(changed(sound, prefix))
    with pytest.raises(CheckpointError, match=r"its ids of .* are not those of tokenizer.json"):
        made("sentencepiece")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer.model does not exist"):
        made("sentencepiece")


def changed(model, edit):
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    edit(proto)
    return proto.SerializeToString()


def test_a_space_before_a_text(tmp_path):
    """The layout of Llama 2: U+2581 in tokenizer.json, and a space before every text."""
    folder = tmp_path / "tokenizer"
    make_tokenizer(folder)
    path = folder / "tokenizer.model"
    prefix = lambda proto: setattr(proto.normalizer_spec, "add_dummy_prefix", True)  # noqa: E731
    path.write_bytes(changed(path.read_bytes(), prefix))

    def spell(described):
        model = described["model"]
        model["vocab"] = {name.replace(" ", "\u2581"): i for name, i in model["vocab"].items()}
        model["merges"] = [[p.replace(" ", "\u2581") for p in pair] for pair in model["merges"]]
        prepend = {"type": "Prepend", "prepend": "\u2581"}
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
        described["normalizer"] = {"type": "Sequence", "normalizers": [prepend, replace]}
        described["pre_tokenizer"] = None
        described["decoder"] = {
            "type": "Sequence",
            "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                         {"type": "ByteFallback"}, {"type": "Fuse"},
                         {"type": "Strip", "content": " ", "start": 1, "stop": 0}],
        }  # fmt: skip

    change(folder / "tokenizer.json", spell)
    assert load_tokenizer(folder).encode("to") != load_tokenizer(folder).encode("x to")[1:]
    vocabulary = read_vocabulary(folder, tmp_path, 320)
    assert vocabulary.core.space_prefix is True


def test_a_snapshot_takes_the_tokenizer_of_its_run(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "run" / "data" / "tokenizer")
    folder = make_model(tmp_path / "run" / "snapshots" / "step-3", tokenizer)
    for path in folder.glob("*token*"):
        path.unlink()
    write_config(folder, eos_token_id=None)
    assert export(folder, tmp_path / "m.gguf").vocabulary == 320
