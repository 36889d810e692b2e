"""Let a model write, and see what temperature and filters do.

python examples/03_sampling.py                   # the model of 01_train_tiny.py
python examples/03_sampling.py Qwen/Qwen3-0.6B   # any other
"""

import sys
from importlib import import_module

import mlx_probe
from mlx_probe import GenerateConfig, SamplingConfig

PROMPT = "The old king"

# Each setting removes something else from the distribution of the next token.
SETTINGS = {
    "most likely token": SamplingConfig(temperature=0),
    "the model's distribution": SamplingConfig(temperature=1),
    "sharper: temperature 0.5": SamplingConfig(temperature=0.5),
    "flatter: temperature 2": SamplingConfig(temperature=2),
    "the 3 most likely: top-k": SamplingConfig(top_k=3),
    "90 % of probability: top-p": SamplingConfig(top_p=0.9),
    "a tenth of the best: min-p": SamplingConfig(min_p=0.1),
}

if __name__ == "__main__":
    model = sys.argv[1] if sys.argv[1:] else import_module("01_train_tiny").train_tiny()
    loaded = mlx_probe.load_model(model)
    for name, sampling in SETTINGS.items():
        text = mlx_probe.generate(loaded, PROMPT, GenerateConfig(24, sampling=sampling)).text
        print(f"{name:26} | {PROMPT + text!r}")

    # A seed decides every draw.
    first, second = (
        mlx_probe.generate(loaded, PROMPT, GenerateConfig(24, sampling=SamplingConfig(seed=seed)))
        for seed in (7, 7)
    )
    print("same seed, same text:", first.text == second.text)
