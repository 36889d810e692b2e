"""Where the project's folders are, for tests at any depth."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
CONFIGS = ROOT / "configs"
DATA = TESTS / "data"
