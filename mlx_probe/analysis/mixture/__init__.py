"""The mixtures of a model, one layer after the other, from their weights alone."""
