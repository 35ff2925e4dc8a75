# A bare machine needs python3 (3.11 or newer) with venv, and make. Everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Trust what the system trusts, as pip does: companies have certificates of their own.
export UV_SYSTEM_CERTS ?= 1
export VIRTUAL_ENV := $(abspath $(VENV))
# The user's langgraph.json; without one the samples are served.
CONFIG ?=
# Installs what that project needs, into an environment of its own, and prints the interpreter.
PROJECT_PYTHON = $(BIN)/python -m platform_site.installation.environment $(if $(SCALED),--extra scaled)
# With SCALED=1 `make serve` starts PostgreSQL, Valkey, workers and beat as well.
SCALED ?=

.PHONY: install serve test soak soak-faults bench lint clean
.DEFAULT_GOAL := serve

install: $(VENV)/.installed

serve: $(VENV)/.installed$(if $(SCALED),-scaled)
	@python=$(BIN)/python; $(if $(CONFIG),python=$$($(PROJECT_PYTHON) "$(CONFIG)") || exit 1;) \
	exec "$$python" manage.py serve $(if $(SCALED),--scaled) $(if $(CONFIG),--config "$(CONFIG)") $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadscope $(ARGS)

# An hour of steady load: does any process grow? SCALED=1 has two workers, ARGS="--minutes 5" is shorter.
soak: $(VENV)/.installed$(if $(SCALED),-scaled)
	@$(BIN)/python -m tests.soak $(if $(SCALED),--scaled 2) $(ARGS)

# Every fault many times over, one after the other: an hour or two.
soak-faults: $(VENV)/.installed-dev
	FAULT_REPEATS=$${FAULT_REPEATS:-50} $(BIN)/python -m pytest -m fault $(ARGS)

bench: $(VENV)/.installed$(if $(findstring --scaled,$(ARGS)),-scaled)
	$(BIN)/python -m tests.benchmarks $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache

# Stamps: a second run has nothing to do until a list of packages changes.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Switchyard needs Python 3.11 or newer, $(PYTHON) is %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(UV)
	$(UV) pip install --quiet -c constraints.txt -r pyproject.toml
	@touch $@

$(VENV)/.installed-scaled: $(VENV)/.installed
	$(UV) pip install --quiet -c constraints.txt -r pyproject.toml --extra scaled
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(UV) pip install --quiet -c constraints.txt -r pyproject.toml --extra dev
	@touch $@
