"""Elements and matrices in, numbers out."""
