"""Our numbers beside those of the packages that made the files; see README.md."""
