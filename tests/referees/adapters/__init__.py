"""Adapters: what PEFT makes of a base by merging them, and what a comparison says."""
