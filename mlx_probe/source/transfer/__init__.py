"""Files brought over a network: resumable, verified, from mirrors."""
