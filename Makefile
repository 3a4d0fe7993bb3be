# Every target sets up what it needs: Python 3.11 is all a machine must have.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
IN_TWO := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: install demo test lint serve bench soak fuzz clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/synthloom demo

serve: $(STAMP)
	$(BIN)/synthloom serve

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(IN_TWO)

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m tests.benchmarks

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak tests/acceptance tests/integration tests/unit/test_export_matrix.py tests/unit/test_merged_matrix.py --timeout 7200 -s

fuzz: $(STAMP)
	$(BIN)/python -m pytest tests/unit/test_image_files.py --hypothesis-profile fuzz --timeout 7200
	$(BIN)/python -m tests.hostile

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
