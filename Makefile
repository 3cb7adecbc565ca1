PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# The stamp's name holds a checksum of what setup installs: a changed lock is a new installation,
# an unchanged one costs nothing.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock setup.cfg pyproject.toml | cksum | cut -d' ' -f1)

# What an image installs: no tools of development, the versions of requirements.lock.
IMAGE_LOCK = $(BIN)/uv pip compile --quiet --python-version 3.11 \
  --python-platform x86_64-manylinux_2_28 --constraint requirements.lock \
  --generate-hashes --no-annotate --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-system test-units test-making test-using check proofs bench screenshots lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install the locked environment into .venv (PYTHON=... picks the interpreter).

$(STAMP): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "error: requirements.lock is for Python 3.11; set PYTHON to one")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	rm -f $(VENV)/.installed-*
	touch $@

demo: setup ## Preprocess, train, evaluate and plot on the pictures in examples/ (results: demo-output/).
	$(BIN)/manylabel demo

# The lines that each half has run, and the percentage of them below which the run fails.
LINES := build/lines
COVERED := 93

# Whole jobs wait for their own processes half the time, so that some others go with them. sed keeps
# the lines of both apart.
test: setup ## Run every test, those of whole jobs beside the others; say how many lines they run.
	$(MAKE) --no-print-directory --jobs=2 test-system test-units
	$(BIN)/python -m tests._line_coverage --floor $(COVERED) $(LINES)/test-system.json $(LINES)/test-units.json

test-system test-units: COUNTED = -p tests._line_coverage --lines-to $(LINES)/$@.json
WITH_JOBS := tests/integration tests/browser tests/deploy/dashboard tests/fuzz
test-system: TESTS := $(WITH_JOBS)
test-units: TESTS := tests $(addprefix --ignore=,$(WITH_JOBS))

test-fast: setup ## Run the tests that are quick, some two minutes.
	$(MAKE) --no-print-directory --jobs=2 test-making test-using

QUICK := -m "not slow and not lengthy"
test-making: TESTS := $(QUICK) tests/preprocessing tests/trainer tests/storage
test-using: TESTS := $(QUICK) tests --ignore=tests/preprocessing --ignore=tests/trainer \
  --ignore=tests/storage --ignore=tests/integration --ignore=tests/browser --ignore=tests/fuzz
test-system test-units test-making test-using: setup
	bash -o pipefail -c '$(BIN)/python -m pytest $(COUNTED) $(TESTS) | sed -u ""'

check: setup ## Check format, lint and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

proofs: setup ## Run what takes a browser, root, other programs or hours (ONLY="NAME ..." some of it).
	$(BIN)/python -m tests._proofs $(ONLY)

bench: setup ## Run every benchmark in benchmarks/.
	@for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

screenshots: setup ## Make the dashboard's pictures in docs/ from demo-output/ (needs chromium).
	$(BIN)/python -m docs.screenshots demo-output

lock: setup ## Write requirements.lock, and the image's locks, anew from setup.cfg.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test --extra dev \
	  --generate-hashes --no-annotate --custom-compile-command 'make lock' --upgrade \
	  --output-file requirements.lock setup.cfg
	$(IMAGE_LOCK) --output-file deploy/docker/cpu.lock setup.cfg
	$(IMAGE_LOCK) --extra gpu --output-file deploy/docker/gpu.lock setup.cfg

clean: ## Remove caches and the demos' results; .venv, dataset, model and runs stay.
	rm -rf demo-output library-demo build dist src/*.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
