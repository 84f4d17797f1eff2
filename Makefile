# Two commands for a newcomer: `make quickstart` and `make test`. Each does all its own set-up.
# Choose an interpreter with `make quickstart PYTHON=python3.12`; 3.11 and 3.12 are tested.

# The first of these that runs, is new enough and can make environments (a name alone proves nothing).
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help quickstart test lint audit clean
help:
	@echo "make quickstart   draw faces, train for some minutes, translate; ends with the pictures' place"
	@echo "make test         lint, type check and run all tests"
	@echo "make audit        ask the advisory database about all packages, as installed and at their lower bounds"
	@echo "make clean        remove the environment and the quickstart's output"

$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "srae_dist needs Python 3.11 or newer with its venv module; install one, or: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv --upgrade-deps $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

quickstart: $(VENV)/ready
	@test -f shards/quickstart/manifest.json || \
	$(BIN)/srae-dist shard --faces 6000 --domains photo,anime --size 32 --out shards/quickstart
	$(BIN)/accelerate launch --config_file accelerate_config.yaml -m srae_dist.train recipes/quickstart.toml
	$(BIN)/srae-dist batch-translate runs/quickstart shards/quickstart --split test --from photo --to anime --out-kind folder --out runs/quickstart/photo_as_anime --force
	@echo
	@echo "Look at: $$(ls runs/quickstart/samples/step-*-translations.png | tail -n 1)"
	@echo "    and: $$(ls runs/quickstart/samples/step-*-reconstructions.png | tail -n 1)"
	@echo "All held-out photos as anime: runs/quickstart/photo_as_anime/"

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# --strict: a package that could not be asked about is a failure, never "no known vulnerabilities"; --all: pip and setuptools too
audit: $(VENV)/ready-dev
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit uv
	$(BIN)/python -m pip freeze --all --exclude-editable > $(VENV)/installed.txt
	$(VENV)/audit/bin/uv pip compile --quiet --resolution lowest-direct --all-extras pyproject.toml > $(VENV)/lowest.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip -r $(VENV)/installed.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip -r $(VENV)/lowest.txt

clean:
	rm -rf $(VENV) shards/quickstart runs/quickstart
