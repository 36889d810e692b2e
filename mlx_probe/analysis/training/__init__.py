"""What happened to the weights of a model while it learned, in sentences and numbers."""
