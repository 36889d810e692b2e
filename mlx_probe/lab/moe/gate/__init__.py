"""Gates of mixtures: which experts a token uses, and how much of each."""
