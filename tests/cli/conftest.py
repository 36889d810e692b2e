from models import arrays, copied, tiny, whole  # noqa: F401  fixtures
