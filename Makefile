# One command each, from an empty clone: `make help` lists them.
# Everything rests on .venv/.ready, the stamp of an environment that matches requirements.lock exactly.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

# Two workers share the machine: threads beyond one each only make them wait for each other.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TOO_OLD = Likeness needs Python 3.11 or newer and "$(PYTHON)" is not: name another with "make $@ PYTHON=python3.12".
NO_PIP = "$(PYTHON)" cannot make an environment because ensurepip is missing: install the package python3-venv of your system, or name another with "make PYTHON=...".

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

