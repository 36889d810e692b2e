"""What makes checkpoints: models, data, training, generation and evaluation.

Whatever in here imports MLX gets the BLAS and the settings that MLX reads once, when it is
imported: this module comes before all others of the lab.
"""

from mlx_probe.compute.backends.mlx import prepare_mlx as _prepare_mlx

_prepare_mlx()
