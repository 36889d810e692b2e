"""Nouns and tools for every room; they know nothing about the content of models."""
