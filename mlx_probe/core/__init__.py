"""Nouns and tools that know no model."""
