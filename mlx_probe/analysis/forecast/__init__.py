"""Before an analysis: what it will fetch, read, compute and write, and whether it fits.

The plan decides what is done; a forecast says what that will cost on this machine.
"""
