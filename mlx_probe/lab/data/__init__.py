"""Text to tokens: sources, documents, tokenizers, shards on disk, and the loader."""
