"""What a tensor does in the network, read from its name by tables of patterns."""
