"""The life of a job: its folder, journal, metadata, outputs."""
