"""Write `data/adapters.npz`, what PEFT makes of a few adapters; run by hand with peft installed.

    PYTHONPATH=tests python tests/make_adapters.py

The configurations are lines of the referees' table (`referees.adapters.configurations`), the
bases those of `referees.adapters.bases`, whose values follow from the names of their tensors. The
file holds each adapter as PEFT saves it, and for each tensor that merging changes eight sums of
the change times random numbers (`adapter_fixtures.projections`), which no other change has.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import peft
from adapter_fixtures import FILE, projections
from referees.adapters.bases import model
from referees.adapters.configurations import CONFIGURATIONS
from referees.adapters.referee import merged, saved_base
from safetensors.numpy import load_file

NAMES = (
    *("lora on every projection", "first match wins", "ranks by pattern", "rslora", "lora_bias"),
    *("all biases", "tokens, tied", "embeddings, tied", "both, tied", "head saved"),
    *("gpt2 square", "gpt2 with its head", "gpt2 dora", "dora", "dora of embeddings", "pissa"),
    *("olora", "kasa", "adalora", "adalora, cut", "loha by pattern", "lokr", "vera"),
    *("ia3 with biases", "ia3 of gpt2", "oft", "boft", "hra", "miss", "c3a", "shira", "ln tuning"),
    "tokens alone",
)


def main():
    arrays, described = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for line in CONFIGURATIONS:
            if line[0] in NAMES:
                described[line[0]] = add(arrays, Path(folder), *line)
    assert set(described) == set(NAMES), set(NAMES) - set(described)
    arrays["cases"] = as_bytes(described)
    np.savez_compressed(FILE, **arrays)
    print(f"{len(described)} adapters, {FILE.stat().st_size / 1e3:.0f} kB, peft {peft.__version__}")


def add(arrays, folder, name, base, config, settings, _expected, edit):
    """Put one adapter among the arrays; what is to be known of it."""
    before = load_file(saved_base(base, folder / base) / "model.safetensors")
    work = folder / name.replace(" ", "-")
    referee = merged(peft, base, config, settings, edit, work)
    for key, x in load_file(referee.adapter / "adapter_model.safetensors").items():
        arrays[f"{name}/{key}"] = x
    changes = {}
    for key, y in referee.tensors.items():
        difference = y.astype(np.float64) - before[key]
        if difference.any():
            changes[key] = projections(key, difference).tolist()
    kept = ("model_type", "tie_word_embeddings", "num_attention_heads", "num_key_value_heads")
    settings = model(base).config.to_dict()
    return {
        "base": {key: list(x.shape) for key, x in before.items()},
        "base_config": {key: settings[key] for key in kept if key in settings},
        "config": json.loads((referee.adapter / "adapter_config.json").read_text("utf-8")),
        "changes": changes,
    }


def as_bytes(content):
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


if __name__ == "__main__":
    main()
