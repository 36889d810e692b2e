"""Spectra of attention heads."""
