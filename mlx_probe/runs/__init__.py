"""The life of a job: `job.py` is the skeleton of all, the others are its parts."""
