"""A GGUF file as a model in Hugging Face's layout, which mlx-lm, transformers and the lab run.

import_gguf.py   the whole flow, and where the model is kept
shape.py         the shape of the network, from the file's metadata
tokenizer.py     tokenizer.json and what lies beside it, from the file's tokens and merges
"""

from mlx_probe.lab.import_gguf.import_gguf import import_gguf

__all__ = ["import_gguf"]
