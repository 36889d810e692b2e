"""Adapters: what they store (`ADAPTERS`), and what they do to the tensors of their base."""
