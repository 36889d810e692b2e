"""Snapshots of the weights while a model learns, measured by the engine in the background.

snapshots.py   which steps keep their weights
folder.py      the weights and their measurements on disk
watch.py       what the trainer calls
measuring.py   the process that measures, and which snapshot it takes next
pace.py        the share of the machine that it may take
ledger.py      what it has done
over_time.py   spectra_over_time.parquet: the rows of all snapshots
"""
