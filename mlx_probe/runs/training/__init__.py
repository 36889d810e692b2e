"""Read what a training run left, or leaves while it runs: metrics, samples, spectra over time."""
