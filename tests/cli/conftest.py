from environments import workplace  # noqa: F401  a fixture
from models import arrays, copied, tiny, whole  # noqa: F401  fixtures
from stored_runs import stored  # noqa: F401  a fixture
