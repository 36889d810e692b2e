"""The files of a run that describes a mixture of experts."""
