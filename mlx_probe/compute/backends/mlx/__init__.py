"""The MLX backend: Metal, CUDA, or MLX's CPU stream."""
