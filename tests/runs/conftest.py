from tables import columns, rows, table  # noqa: F401  fixtures
