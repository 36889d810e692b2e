"""What makes checkpoints: models, data, training, generation and evaluation."""
