# `make` prints this list. No variable has to be set; PYTHON and UPGRADE may be.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install system quickstart test check lock bench docs screenshots clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

install:  ## make .venv from the lock that suits this machine (nothing to do the second time)
	@$(PYTHON) requirements/install.py

system:  ## install what pip cannot, where root and apt allow it; else name the command
	@$(PYTHON) requirements/system.py

quickstart: install  ## train a small language model on this machine, start to finish
	@$(BIN)/python -m rltrain.builtin_models
	@$(BIN)/rltrain train configs/quickstart.yaml

test: install  ## run every test, two files at a time
	@$(PYTHON) requirements/system.py || echo "make test: goes on without; only the tests that need it will fail"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15

check: install  ## lint and format check
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

lock: install  ## write requirements/*.lock again (UPGRADE=1: with newer versions)
	@$(BIN)/python requirements/lock.py $(if $(UPGRADE),--upgrade)

bench: install  ## run the benchmarks and print their table
	@$(BIN)/python -m benchmarks.run

docs: install  ## write the generated pages of docs/ again
	@$(BIN)/python -m rltrain.metrics > docs/metrics.md
	@$(BIN)/python -m rltrain.config.page > docs/config.md

screenshots: install system  ## write the pictures of report and dashboard in docs/ again
	@$(BIN)/python -m benchmarks.screenshots

clean:  ## remove the environment and caches (runs/ stays)
	rm -rf .venv .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
