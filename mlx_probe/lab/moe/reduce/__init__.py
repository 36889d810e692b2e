"""A mixture with fewer experts in each layer, as a stock checkpoint: pruned or merged."""
