"""Checkpoints of one model over its training: measured once each, and what happened when."""
