# One command each, from an empty clone: `make help` lists them.
# Everything rests on .venv/.ready, the stamp of an environment that matches requirements.lock exactly.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TOO_OLD = Likeness needs Python 3.11 or newer and "$(PYTHON)" is not: name another with "make PYTHON=python3.12 ...".
NO_PIP = "$(PYTHON)" cannot make an environment because ensurepip is missing: install the package python3-venv of your system, or name another Python with "make PYTHON=... ...".

define check_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo '$(TOO_OLD)' >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(NO_PIP)' >&2; exit 1; }
endef

# `uv pip sync` removes whatever the lock does not name, this project included, so the two installs are one recipe.
.venv/.ready: requirements.lock requirements-uv.lock pyproject.toml
	$(check_python)
	@rm -f $@
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The peers live apart, so that no requirement of theirs can reach the project; bench/requirements.txt holds both.
.venv-bench/.ready: bench/requirements.txt .venv/.ready
	@rm -f $@
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-bench
	$(BIN)/uv pip sync --quiet --python .venv-bench/bin/python --require-hashes bench/requirements.txt
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venv-oldest/.ready: pyproject.toml .venv/.ready
	@rm -f $@
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-oldest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --generate-hashes --python .venv-oldest/bin/python \
		--extra dev pyproject.toml --output-file .venv-oldest/requirements.txt
	$(BIN)/uv pip sync --quiet --python .venv-oldest/bin/python --require-hashes .venv-oldest/requirements.txt
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --no-deps --no-build-isolation -e .
	@touch $@

# The site's tools live apart too: the tests need none of them.
.venv-docs/.ready: requirements-docs.lock .venv/.ready
	@rm -f $@
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-docs
	$(BIN)/uv pip sync --quiet --python .venv-docs/bin/python --require-hashes requirements-docs.lock
	@touch $@

# The workers share the machine: threads beyond one each would only wait for each other.
test contract slow oldest: export OMP_NUM_THREADS = 1

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.ready ## fit the families side by side and print what each can say
	$(BIN)/likeness demo --out out/demo

.PHONY: test
test: .venv/.ready ## the tests, within twelve minutes on two cores
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not contract and not slow"

.PHONY: contract
contract: .venv/.ready ## every cell, mutant and seed of the contract suite
	LIKENESS_COST=fail $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m contract

.PHONY: slow
slow: .venv/.ready ## the tests that take minutes each
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m slow

.PHONY: lint
lint: .venv/.ready ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: .venv/.ready ## mend what the formatter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: docs
docs: .venv-docs/.ready ## the site in docs/_build/html: a warning or a broken link fails
	@rm -rf docs/_build
	OMP_NUM_THREADS=1 .venv-docs/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	.venv-docs/bin/python docs/_ext/links.py docs/_build/html

.PHONY: figures
figures: .venv/.ready ## draw the picture of the README again
	OMP_NUM_THREADS=1 $(BIN)/python docs/images/front.py docs/images/front.png

.PHONY: bench
bench: .venv-bench/.ready ## time and score this project beside its peers
	.venv-bench/bin/python -m bench

.PHONY: bench-gpu
bench-gpu: .venv-bench/.ready ## the same on a GPU
	.venv-bench/bin/python -m bench --device cuda

.PHONY: oldest
oldest: .venv-oldest/.ready ## the tests on the oldest versions that pyproject.toml allows
	.venv-oldest/bin/pytest -n $(WORKERS) --dist loadgroup -m "not contract and not slow"

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.PHONY: lock
lock: .venv/.ready ## resolve the newest versions again and write the locks
	$(COMPILE) --upgrade --extra dev pyproject.toml --output-file requirements.lock
	printf 'uv\n' | $(COMPILE) --upgrade --no-annotate - --output-file requirements-uv.lock
	$(COMPILE) --upgrade --extra docs --constraints requirements.lock pyproject.toml --output-file requirements-docs.lock
	$(COMPILE) --upgrade --extra dev --constraints requirements.lock bench/requirements.in pyproject.toml \
		--output-file bench/requirements.txt
