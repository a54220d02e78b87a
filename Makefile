# What a machine with Python 3.11 or newer and make can do here; `make help` lists it.

# The first of these that is new enough; another by `make PYTHON=/some/python …`.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then command -v $$python; break; fi; done)
endif

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEV_STAMP := $(VENV)/.installed-dev
TRAIN_STAMP := $(VENV)/.installed-train
SCALE_STAMP := $(VENV)/.installed-scale
TORCH := torch==2.13.0
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-train install-scale serve demo test lint hadolint train evaluate bench lock

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

install: $(DEV_STAMP)  ## make .venv from the hashed lock; quick when nothing changed

$(DEV_STAMP): requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/its/path"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing what requirements-dev.lock names into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

install-train: $(TRAIN_STAMP)  ## add to .venv what training needs, torch among it

# torch is in no lock: one for every platform would pull gigabytes of accelerator packages
$(TRAIN_STAMP): $(DEV_STAMP) requirements-train.lock
	@echo "Installing what training needs into $(VENV): $(TORCH) is large"
	@$(PIP) install --require-hashes -r requirements-train.lock
	@$(PIP) install $(TORCH)
	@touch $@

install-scale: $(SCALE_STAMP)  ## add to .venv what API nodes and workers on several machines need

$(SCALE_STAMP): $(DEV_STAMP) requirements-scale.lock
	@echo "Installing what scaling out needs into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-scale.lock
	@touch $@

serve: install  ## run the service on http://127.0.0.1:8000
	$(BIN)/python -m app serve

demo: install  ## simulate a recording, send it through a service, show what comes out
	$(BIN)/python -m app demo

test: install  ## run every test that needs no further server
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: install  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

hadolint: install  ## check the Dockerfile
	$(BIN)/hadolint Dockerfile

train: install-train  ## train, export and evaluate both networks: make train VERSION=0.2.0
	@test -n "$(VERSION)" || { echo "Say which version they become: make train VERSION=0.2.0"; exit 1; }
	$(BIN)/python -m models.training.run --version $(VERSION) $(TRAIN_ARGS)

evaluate: install  ## measure how well the networks do, into build/evaluation
	$(BIN)/python -m models.training.evaluate $(EVALUATE_ARGS)

bench: install  ## measure how fast it is: make bench BENCH_ARGS="--against REVISION"
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

lock:  ## pin every dependency anew from pyproject.toml (needs uv)
	$(COMPILE) --group dev --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --constraint requirements-dev.lock --group train --output-file requirements-train.lock
	$(COMPILE) --constraint requirements-dev.lock --extra scale --output-file requirements-scale.lock
