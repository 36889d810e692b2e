"""llama.cpp's own server, inside this process, that runs a GGUF file."""

import json
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


class Server:
    """Answers of llama.cpp about one file."""

    def __init__(self, address):
        self._address = address

    def tokens(self, text, special=False, ends=False):
        """Ids of a text.

        Args:
            text: The text.
            special: Whether special tokens that are written out are found.
            ends: Whether what the file says is put around it.
        """
        said = {"content": text, "parse_special": special, "add_special": ends}
        return self._post("/tokenize", said)["tokens"]

    def text(self, tokens):
        return self._post("/detokenize", {"tokens": tokens})["content"]

    def chat(self, messages):
        """The text of a conversation by the file's template."""
        return self._post("/apply-template", {"messages": messages})["prompt"]

    def continued(self, tokens, count):
        """The most likely next tokens; an end token ends them, and is none of them."""
        said = {"n_predict": count, "temperature": 0, "return_tokens": True, "cache_prompt": False}
        return self._post("/completion", {"prompt": tokens, **said})["tokens"]

    def log_probabilities(self, tokens, wanted, shown):
        """Natural logarithms of the probabilities of the token after these, by id.

        Args:
            tokens: The prompt.
            wanted: Most likely tokens that are told.
            shown: Any token that is a whole character: it is chosen, since llama.cpp tells nothing
                of one that is not. Probabilities are those before that.
        """
        said = {"n_predict": 1, "n_probs": wanted, "logit_bias": [[shown, 1000]], "temperature": 0}
        answer = self._post("/completion", {"prompt": tokens, **said, "cache_prompt": False})
        [step] = answer["completion_probabilities"]
        return {each["id"]: each["logprob"] for each in step["top_logprobs"]}

    def _post(self, path, said):
        request = Request(
            self._address + path, json.dumps(said).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def running(path, context=64):
    """llama.cpp with a file, all numbers in float32 where it can."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = context, 1, False, 0
    params.cpuparams.n_threads = 1
    params.port = 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    yield Server(server.listening_address)
    del server
