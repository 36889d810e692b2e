"""Two checkpoints, or a base and its adapter: weights paired, streamed side by side, measured."""
