"""MLX, numpy, torch and WeightWatcher side by side."""
