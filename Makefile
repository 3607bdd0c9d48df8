# `make run` and `make test` each set up what they need, once.
PYTHON ?= python3
BIN := .venv/bin
NATIVE := $(wildcard native/*.h native/*.cpp)

.PHONY: run test check format bench clean

run: .venv/ready
	$(BIN)/python examples/seattle_weather.py

test: .venv/ready
	$(BIN)/pytest

check: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(if $(NATIVE),$(BIN)/clang-format --dry-run --Werror $(NATIVE))

format: .venv/ready
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(if $(NATIVE),$(BIN)/clang-format -i $(NATIVE))

bench: .venv/ready
	$(BIN)/python -m benchmarks

# Set-up runs again only when what is to be installed has changed.
.venv/ready: pyproject.toml CMakeLists.txt $(NATIVE)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist runs .mypy_cache .pytest_cache .ruff_cache .hypothesis
