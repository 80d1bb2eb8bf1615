# Every target does all of its own set-up; it needs Python >= 3.11 with pip, and make.
# First runs download packages (1.1 GB installed) and, for all but `lint`, the models.

SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
SOURCE ?= wheels
MARKS ?=
ARGS ?=
TIMES ?= 5
WORKERS ?= 2

BIN := .venv/bin
READY := .venv/.ready
RAY := .venv/.ray
EXTRAS := engine,serve,dev
TYPES := .cache/types/shuntyard

# With the checkout as the working folder `import tools` must not find our folders.
export PYTHONSAFEPATH := 1
# The engine's threads otherwise burn a core while they wait.
export GOMP_SPINCOUNT ?= 1000

DEMO ?= Which top-level folder holds the most lines of Python, and which Python file is the longest in each top-level \
folder? Write both tables to report.md.

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

# Runs $(2) with a sign of life every second, keeps its output in .cache and shows it only when it fails.
define patiently
	@mkdir -p .cache; ( $(2) ) >.cache/setup.log 2>&1 & pid=$$!; s=0; \
	while kill -0 $$pid 2>/dev/null; do \
		if [ -t 1 ]; then printf '\r%s: %d s' '$(1)' $$s; \
		elif [ $$s -eq 0 ]; then printf '%s ' '$(1)'; else printf '.'; fi; \
		sleep 1; s=$$((s + 1)); \
	done; \
	if wait $$pid; then echo " done"; else echo " failed"; cat .cache/setup.log; exit 1; fi
endef

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 found; name one: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		$(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python .venv/bin/python install pip; }

$(READY): $(BIN)/python pyproject.toml constraints.txt
	$(call patiently,Installing packages into .venv,$(BIN)/python -m pip install --disable-pip-version-check -e '.[$(EXTRAS)]' -c constraints.txt)
	@touch $@

# Beside the rest only for the tests: 240 MB that nothing else here needs.
$(RAY): $(READY)
	$(call patiently,Installing Ray,$(BIN)/python -m pip install --disable-pip-version-check "$$(sed -n 's/^ray = \["\(.*\)"\]$$/\1/p' pyproject.toml)" -c constraints.txt)
	@touch $@

$(TYPES):
	@mkdir -p $(@D) && ln -sfn "$(CURDIR)" $@

# A model that is in the cache already is not fetched again.
pull = $(BIN)/shuntyard models pull --source $(SOURCE)

setup: $(READY) $(TYPES) ## Make .venv with everything but the models

demo: setup ## Answer a real question about this checkout on a local model
	@$(pull) all-minilm-l6-v2
	@$(pull) qwen2.5-coder-1.5b
	$(BIN)/shuntyard run --model qwen2.5-coder-1.5b --approve write_file "$(DEMO)"

lint: setup ## Style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.cache/types $(BIN)/mypy -p shuntyard
	$(BIN)/lint-imports --no-cache

models: setup
	@for name in all-minilm-l6-v2 smollm2-135m qwen2.5-coder-0.5b qwen2.5-coder-1.5b; do $(pull) $$name || exit $$?; done

# Whole files to each worker, those with real models last and on one (tests/conftest.py).
SPREAD = $(if $(filter-out 1,$(WORKERS)),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

# A fresh .venv gets it with the first installation.
test: EXTRAS := engine,serve,dev,ray
test: lint models $(RAY) ## Everything that CI checks; MARKS='not model' leaves out the slow part, WORKERS=1 does not spread it
	$(BIN)/python -m pytest -c tests/pytest.ini $(SPREAD) $(if $(MARKS),-m '$(MARKS)') $(ARGS)

search: setup ## Repeat the property tests with new examples; TIMES=20 for longer
	@for n in $$(seq $(TIMES)); do \
		$(BIN)/python -m pytest -c tests/pytest.ini -q -m hypothesis --hypothesis-profile=search -x $(ARGS) || exit $$?; \
	done

examples: setup ## Score examples/tasks.toml on the 1.5B model, the 0.5B beside it
	@$(pull) qwen2.5-coder-0.5b
	@$(pull) qwen2.5-coder-1.5b
	$(BIN)/shuntyard bench examples $(ARGS)

, := ,

.PHONY: help setup demo lint models test search examples
