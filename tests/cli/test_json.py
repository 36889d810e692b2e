"""--json of every command: one strict document on standard output, as its schema says.

In Chinese, because data stay English whatever the language of the messages is.
"""

import json
from importlib import import_module

import backup_commands
import document_commands
import jsonschema
import pytest
from json_places import places, server  # noqa: F401  fixtures
from machines import MAC
from models import invoke

from mlx_probe.cli.generated_docs import contexts
from mlx_probe.cli.schemas import EXEMPT, FAILURE, SCHEMAS, schema_of

# What is run, and with which exit code; {word} is one of `places`. Every variant of a document.
GOOD = {
    "plan": [
        ("{model}", 0),
        ("{model} --context 128 --bits 4 --memory-limit 1", 1),
        ("train {recipe}", 0),
        ("run {wide} --context 64", 0),
    ],
    "analyze": [
        ("{model} --out {out}/run --workers 1", 0),
        ("{strange} --out {out}/strange --workers 1 --quiet", 3),
        ("{model} --dry-run", 0),
    ],
    "compare": [
        ("{model} {model} --out {out}/pair --workers 1", 0),
        ("{lm} {adapter} --extract-lora 2 --out {out}/extracted --workers 1", 0),
    ],
    "lineage": [
        ("{model} {lm}", 0),
        ("{model} {lm} {wide} --report {out}/family.html --out {out}/family", 0),
    ],
    "series": [("{model} {root}/models/base --steps 1,2 --out {out}/series --workers 1 -q", 0)],
    "budget": [
        ("{lm} --size 60kB --kinds rank", 0),
        (
            "{lm} --size 60kB --kinds rank --export {out}/cut --text {text} --text-tokens 20",
            0,
        ),
        ("{lm} --error 0.3 --dtype bfloat16 --mode affine --mode mxfp4 --out {out}/budget", 0),
    ],
    "report": [
        ("{runs}/base --out {out}/page.html", 0),
        ("{runs}/base {runs}/tuned --out {out}/two.html", 0),
        ("{runs}/base --terminal --metric alpha --metric stable_rank", 0),
        ("{runs}/pair --terminal", 0),
        ("{trained} {trained} --out {out}/trained.html", 0),
        ("{trained} --terminal --metric stable_rank", 0),
        ("{statistics} --terminal", 0),
        ("{statistics} --out {out}/statistics.html", 0),
    ],
    "similar-layers": [
        ("{lm}", 0),
        ("{lm} --against {lm} --directions 0 --out {out}/layers", 0),
        ("{lm} --with-activations --text {text} --tokens 40 --window 20 --device cpu", 0),
    ],
    "plot": [("{runs}/base stable_rank", 0), ("{trained} val_bpb --over tokens", 0)],
    "explain": [("alpha block_type alpha_reliable --run {runs}/base", 0), ("", 0)],
    "findings": [("{runs}/base", 0), ("{broken}", 0)],
    "validate": [
        ("{runs}/base --no-recompute", 0),
        ("{runs}/pair", 0),
        ("{broken} --no-recompute", 1),
        ("{trained}", 0),
    ],
    "compare-runs": [
        ("{runs}/base {runs}/tuned {runs}/quick", 0),
        ("{runs}/base {nothing} --by block_type --relative", 0),
    ],
    "query": [("--runs {runs} from␣params", 0), ("--runs {runs} --schema", 0)],
    "inspect": [("{model}", 0), ("{strange}", 0), ("{runs}/base", 0), ("{runs}/pair", 0)],
    "bench": [("--shape 8x8 --contender native --contender numpy --repeat 1", 0)],
    "data tokenize": [("{texts} --out {out}/tokens --vocabulary 300", 0)],
    "data toolcalls": [
        ("{xlam} --out {out}/calls", 0),
        ("{xlam} --out {out}/rendered --tokenizer {lm}", 0),
    ],
    "train": [
        (
            "--data {texts} --out {out}/trained --device cpu --set tokenizer.kind=bytes "
            "--set vocabulary=270 --set dim=32 --set layers=1 --set hidden=32 --set context=16 "
            "--set train.steps=2 --set warmup=1 --set per_decade=0 --watch-share 0 --quiet",
            0,
        ),
    ],
    "tune": [
        (
            "{lm} --data {talks} --out {out}/tuned --device cpu --set train.steps=2 --set warmup=1 "
            "--set max_tokens=200 --quiet",
            0,
        ),
        ("{lm} --data {talks} --out {out}/planned --set max_tokens=200 --dry-run", 0),
    ],
    "generate": [
        ("{lm} --prompt To␣be --max-tokens 3", 0),
        ("{lm} --prompt To␣be --max-tokens 1 --chat", 0),
    ],
    "evaluate": [
        ("{lm} --data {text} --out {out}/result.json", 0),
        ("--task function-calls --data {calls} --predictions {answers} --out {out}/calls", 0),
        ("--task bfcl --data {bfcl} --predictions {answers} --out {out}/bfcl", 0),
        ("--compare {out}/calls {out}/calls", 0),
        ("--compare {out}/bfcl {out}/bfcl", 0),
    ],
    "merge": [("{lm} {adapter} --out {out}/merged", 0)],
    "export": [
        ("{lm} --to gguf --out {out}/new/model.gguf", 0),
        ("{lm} --to mlx --bits 8 --out {out}/packed", 0),
    ],
    "moe graft": [
        ("{lm} --experts 3 --data {texts} --tokens 48 --device cpu --out {out}/grafted", 0),
        ("{lm} --form drop --no-run --out {out}/copied", 0),
    ],
    "moe signals": [
        (
            "{lm} --data {texts} --tokens 60 --window 20 --block 8 --device cpu "
            "--out {out}/signals",
            0,
        ),
    ],
    "moe train": [
        (
            "{graft} --teacher {lm} --data {texts} --device cpu --set train.steps=1 --set warmup=1 "
            "--set context=16 --set begin_tokens=64 --set evaluation_tokens=64 --out {out}/gated "
            "--quiet",
            0,
        ),
    ],
    "moe prune": [
        (
            "{copies} --keep 2 --data {texts} --score-tokens 24 --tokens 24 --device cpu "
            "--out {out}/pruned",
            0,
        ),
        ("{copies} --keep 2 --by random --no-run --out {out}/any", 0),
    ],
    "moe merge": [
        ("{copies} --data {texts} --tokens 24 --device cpu --out {out}/merged", 0),
        ("{copies} --no-run --out {out}/unseen", 0),
    ],
    "moe stats": [
        ("{mixture} --out {out}/stats --workers 1", 0),
        (
            "{graft} --data {texts} --tokens 40 --device cpu --out {out}/read --workers 1",
            0,
        ),
    ],
    "load-test": [
        ("{server} --dataset-path {plans} --num-prompts 2", 0),
        ("{server} --dataset-path {plans} --num-prompts 2 --no-save-detailed", 0),
        (
            "{server} --dataset-path {plans} --num-prompts 2 --sweep --goodput e2el:0.01 "
            "--request-rate 200",
            0,
        ),
    ],
    "download": [
        ("{model} --local-dir {out}/new --dry-run", 0),
        ("{model} --local-dir {out}/new", 0),
    ],
    "verify": [("{downloaded}", 0), ("{damaged}", 1)],
    "model verify": [("{lm} --max-tokens 2", 0), ("{lm} --expect 00000000", 1)],
    "model info": [("{lm}", 0), ("{adapter}", 0), ("{trained}", 0)],
    "model card": [("{lm} --out {out}/README.md", 0), ("{adapter} --out -", 0)],
    "catalog scan": [("{root}/models --runs {runs}", 0)],
    "catalog list": [("", 0), ("--analyzed --sort size", 0)],
    "catalog show": [("base", 0)],
    "catalog card": [("base", 0), ("base --out {out}/card.md", 0)],
    "catalog note": [("base a␣note", 0), ("base", 0)],
    "catalog tag": [("base small", 0)],
    "catalog forget": [("other --yes", 0)],
    "catalog duplicates": [("", 0)],
    "catalog dedupe": [("--dry-run", 0), ("--yes", 0)],
    "catalog undo": [("--yes", 0)],
    "catalog space": [
        ("", 0),
        ("--remove partial --dry-run", 0),
        ("--empty-bin --yes", 0),
    ],
    "runs scan": [("{runs}", 0)],
    "runs list": [("", 0), ("--kind analyze --where rows>1 --sort rows --limit 1", 0)],
    "runs show": [("{runs}/base", 0), ("base", 0)],
    "runs compare": [
        ("{runs}/base {runs}/tuned", 0),
        ("{runs}/base {trained} --out {out}/runs.html", 0),
    ],
    "runs diff": [("{runs}/base {trained}", 0)],
    "runs best": [("--by findings", 0), ("--by rows --max --kind analyze", 0)],
    "runs tag": [("{runs}/base small", 0)],
    "runs note": [("{runs}/base a␣note", 0)],
    "runs lineage": [("", 0), ("{runs}/base --out {out}/lineage.html", 0)],
    "runs export": [("{runs}/base {trained} --to csv --out {out}/exports", 0)],
    "runs sweep": [("{sweep} --out {out}/sweep --dry-run", 0), ("{sweep} --out {out}/sweep", 0)],
    "runs rm": [("{unwanted} --dry-run", 0), ("{unwanted}", 0)],
    "runs bin": [("", 0), ("{unwanted}", 0)],
    "runs restore": [("{unwanted}", 0)],
    "runs forget": [("{unwanted} --yes", 0)],
    "runs reproduce": [("{runs}/base", 0), ("{runs}/base --against {runs}/base", 0)],
    **document_commands.GOOD,
    "share token": [("ada --expires 1h", 0)],
    "share start": [("{runs}/base --guest bob --include metadata --for 1s", 0)],
    "share guests": [("", 0)],
    "share revoke": [("ada", 0)],
    "share audit": [("", 0)],
    **backup_commands.GOOD,
    "env create": [("bare --template {bare} --maker venv --folder {out}/envs", 0)],
    "env list": [("--folder {envs}", 0), ("--folder {nothing}", 0)],
    "env export": [("first --folder {envs} --out {out}/first.lock.txt", 0)],
    "env check": [("first --folder {envs} --quick", 0)],
    "env document": [("first --folder {envs} --out {out}/first.md", 0)],
    "doctor": [("--offline", 0), ("--remote {server}", 0)],
    "cluster check": [
        ("local:1 --model {model}", 0),
        ("local:1 --no-calibrate --backend numpy --device gpu", 1),
    ],
    "monitor": [("{runs}/base", 0)],
}
# A failure of each command that has one; the exit code.
BAD = {
    "plan": ("{nothing}", 1),
    "analyze": ("{nothing}", 1),
    "compare": ("{model} {nothing}", 1),
    "report": ("{nothing}", 1),
    "plot": ("{nothing} rank", 1),
    "explain": ("nothing", 2),
    "findings": ("{runs}/pair", 1),
    "series": ("{nothing} --out {out}/none", 1),
    "validate": ("{nothing}", 1),
    "compare-runs": ("", 2),
    "query": ("--runs {runs} copy␣params␣to␣'x'", 2),
    "inspect": ("{nothing}", 1),
    "bench": ("{nothing}", 1),
    "cluster check": ("nowhere", 2),
    "data tokenize": ("{nothing} --out {out}/none", 1),
    "data toolcalls": ("{texts} --out {out}/none", 1),
    "train": ("--data {nothing} --out {out}/none", 1),
    "tune": ("{nothing} --data {root} --out {out}/none", 1),
    "generate": ("{nothing} --prompt x", 1),
    "evaluate": ("{lm} --data {nothing}", 1),
    "budget": ("{lm} --size 1kB", 2),
    "lineage": ("{model} {nothing}", 1),
    "similar-layers": ("{nothing}", 1),
    "merge": ("{lm} {nothing} --out {out}/none", 1),
    "export": ("{nothing} --to gguf --out {out}/none.gguf", 1),
    "moe graft": ("{lm} --experts 7 --out {out}/none", 2),
    "moe train": ("{lm} --teacher {lm} --data {texts} --device cpu --out {out}/none", 2),
    "moe signals": ("{lm} --data {texts} --block 7 --device cpu --out {out}/none", 2),
    "moe prune": ("{copies} --keep 3 --out {out}/none", 2),
    "moe merge": ("{lm} --out {out}/none", 2),
    "moe stats": ("{model} --out {out}/none", 2),
    "load-test": ("ftp://x", 2),
    "download": ("{nothing}", 1),
    "verify": ("{nothing}", 1),
    "model verify": ("{nothing}", 1),
    "model info": ("{nothing}", 1),
    "model card": ("{nothing} --out -", 1),
    "catalog scan": ("{nothing}", 2),
    "catalog list": ("--sort nonsense", 2),
    "catalog show": ("no-such-model", 2),
    "catalog card": ("no-such-model", 2),
    "catalog note": ("no-such-model", 2),
    "catalog tag": ("no-such-model x", 2),
    "catalog forget": ("", 2),
    "catalog duplicates": ("--larger nonsense", 2),
    "catalog dedupe": ("", 2),
    "catalog undo": ("", 2),
    "catalog space": ("--restore nonsense", 2),
    "runs scan": ("{nothing}", 2),
    "runs list": ("--where nothing", 2),
    "runs show": ("{nothing}", 1),
    "runs sweep": ("{model}/config.json --out {out}/sweep", 2),
    "runs export": ("{runs}/base --to excel", 2),
    "runs compare": ("{runs}/base --out page.txt", 2),
    "runs diff": ("{runs}/base {nothing}", 1),
    "runs best": ("--by nothing", 2),
    "runs tag": ("{nothing} small", 1),
    "runs note": ("{nothing}", 1),
    "runs lineage": ("{nothing}", 1),
    "runs rm": ("{nothing}", 1),
    "runs bin": ("{nothing}", 2),
    "runs restore": ("{nothing}", 2),
    "runs forget": ("", 2),
    "runs reproduce": ("{runs}/base --out {out}/none", 2),
    **document_commands.BAD,
    "share token": ("a.b", 2),
    "share start": ("{nothing}", 1),
    "share guests": ("extra", 2),
    "share revoke": ("nobody", 2),
    "share audit": ("--audit {nothing}", 1),
    "env create": ("one --template nothing", 2),
    "env list": ("--folder {text}", 2),
    "env export": ("none --folder {envs} --out {out}/none", 1),
    "env check": ("none --folder {envs}", 1),
    "env document": ("none --folder {envs}", 1),
    "doctor": ("--offline --compare {nothing}", 1),
    **backup_commands.BAD,
    "monitor": ("{nothing}", 1),
}
LEAVES = [
    " ".join(ctx.command_path.split()[1:])
    for ctx in contexts()
    if ctx.parent is not None and not hasattr(ctx.command, "commands")
]


def run_json(command, arguments, places, out):  # noqa: F811
    words = [word.replace("␣", " ").format(**places, out=out) for word in arguments.split()]
    flag = ["--json", "-"] if command == "bench" else ["--json"]
    return invoke(*command.split(), *flag, *words, **places["environment"])


def strictly(text):
    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def check(command, text):
    """The text is strict English JSON that the command's schema and no other describes."""
    assert not [c for c in text if "\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef"]
    assert "\\u4e" not in text.lower()
    documents = text.splitlines() if command == "monitor" else [text]
    assert documents
    validator = jsonschema.Draft202012Validator(schema_of(command))
    for document in map(strictly, documents):
        error = jsonschema.exceptions.best_match(validator.iter_errors(document))
        assert error is None, f"{error.json_path}: {error.message}"
    return strictly(documents[-1])


def test_every_command_has_a_schema_or_a_reason():
    assert set(LEAVES) == {*SCHEMAS, *EXEMPT}
    assert set(SCHEMAS) == set(GOOD) == set(BAD)
    assert not set(SCHEMAS) & set(EXEMPT)


def test_every_command_with_a_schema_has_the_option():
    for ctx in contexts():
        command = " ".join(ctx.command_path.split()[1:])
        names = {name for option in ctx.command.params for name in option.opts}
        assert ("--json" in names) == (command in SCHEMAS), command


@pytest.mark.parametrize("command", SCHEMAS)
def test_a_schema_is_one(command):
    jsonschema.Draft202012Validator.check_schema(schema_of(command))


@pytest.mark.parametrize("command", GOOD)
def test_a_command_prints_its_document(command, places, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_module("mlx_probe.cli.doctor"), "gather", lambda offline: MAC)
    printed = []
    for arguments, code in GOOD[command]:
        result = run_json(command, arguments, places, tmp_path)
        assert result.exit_code == code, result.output
        document = check(command, result.stdout)
        assert not (isinstance(document, dict) and "error" in document)
        printed.append(document)
    # Each variant is one of the documents.
    for schema in SCHEMAS[command].variants.values():
        validator = jsonschema.Draft202012Validator(schema)
        assert any(validator.is_valid(document) for document in printed), command


@pytest.mark.parametrize("command", BAD)
def test_a_failure_is_a_document_too(command, places, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    arguments, code = BAD[command]
    result = run_json(command, arguments, places, tmp_path)
    assert result.exit_code == code, result.output
    document = check(command, result.stdout)
    jsonschema.validate(document, FAILURE)
    assert document["error"]["exit_code"] == code
    assert result.stderr
