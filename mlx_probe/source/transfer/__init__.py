"""Downloads: resumable, verified, from mirrors."""
