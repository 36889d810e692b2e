"""Training: configuration, optimizers, the loop, checkpoints, spectra while it learns."""
