"""Packed weights: what the original packages wrote, read by us and by them."""
