from models import arrays, copied, one_by_one, tiny, whole  # noqa: F401  fixtures
from tables import columns, rows, table  # noqa: F401  fixtures
