from stored_runs import ask, stored  # noqa: F401  fixtures
