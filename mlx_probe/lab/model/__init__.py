"""MiniLLM: the transformer of the llama and qwen3 families, one file for each piece."""
