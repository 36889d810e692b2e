from models import tiny, whole  # noqa: F401  fixtures
