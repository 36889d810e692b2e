"""Models and runs that are kept on this machine."""
