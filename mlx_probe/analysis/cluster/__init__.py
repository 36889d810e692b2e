"""Analysis on several machines: Dask gives the weights of one model to workers."""
