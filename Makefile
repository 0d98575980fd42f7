# Two commands matter: `make demo` runs the main job, `make test` runs the tests.
# Both set up a local .venv first; a second run sets up nothing.

PYTHON ?= python3
BIN := .venv/bin
OUT ?= out
ENGINE ?= local
# Bytecode is kept whatever the caller's variable says: several hundred Pythons start.
TESTS = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help env demo test test-all lint types docs bench golden gpu gpu-bundle gpu-smoke gpu-server b200 torture clean

help:
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

env:
	@$(PYTHON) -c 'import sys; now = sys.version_info; now >= (3, 11) or sys.exit( \
		"Python 3.11 or newer is needed, and $(PYTHON) is %d.%d; name another one: " \
		"make $(MAKECMDGOALS) PYTHON=python3.12" % tuple(now[:2]))'
	@$(PYTHON) .ci/environment.py

demo: env  ## about three minutes: reproduce, trap, dump, replay, explain and fix the Gemma-4 crash
	@PATH="$(CURDIR)/$(BIN):$$PATH" repros/gemma4_e4b_oob.sh --lab --dir $(OUT)/demo || [ $$? = 1 ]

test: env  ## 8 to 20 minutes on two cores: all tests but the long grids (GPU tests skip with a reason where there is none)
	@$(TESTS) --durations=15 -m "not slow"

torture: env  ## every attack at length: fuzzing, kills, secrets, injected errors (hours; ENGINE=ray)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture.long --out $(OUT)/torture --engine $(ENGINE)

test-all: env  ## the long grids as well: every release, the whole matrix, the compiler
	@$(TESTS) --durations=30

lint: env  ## format, style and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache

types: env  ## static types
	@$(BIN)/mypy

docs: env  ## the pages of docs/ and one for each command, as a site in out/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --site-dir $(OUT)/docs

bench: env  ## the figures of docs/results, as ratios in one run: table and JSON
	@$(BIN)/python -m triage.bench --json $(OUT)/bench.json

clean:
	rm -rf .venv $(OUT)

golden: env  ## make the dumps in dumps/ again (about five minutes)
	@$(BIN)/python -m triage.lab.golden

# What the targets for a GPU take from the caller's Python, asked before their first import.
WITH_TORCH = @$(PYTHON) -c 'import importlib.util, sys; \
	lacks = [each for each in ("torch", "click", "msgpack", "numpy", "rich") \
	if importlib.util.find_spec(each) is None]; \
	lacks and sys.exit("$(PYTHON) has no " + ", ".join(lacks) + "; name the Python that runs " \
	"SGLang, into which this was installed (pip install .): make $@ PYTHON=...")'

gpu:  ## what only a GPU can show; uses $(PYTHON) with its torch, resumes when cut off
	$(WITH_TORCH)
	@$(PYTHON) -m triage.bench.gpu --out $(OUT)/gpu

gpu-bundle: env  ## one archive with which a GPU machine without SGLang or a network serves Gemma-4
	@$(BIN)/python -m triage.lab.server.bundle --out $(OUT)/gpu --wheels $(OUT)/gpu/wheels $(BUNDLE)

gpu-smoke:  ## real servers on this GPU in ten minutes: modes, defects, the crash; uses $(PYTHON)
	$(WITH_TORCH)
	@$(PYTHON) -m triage.bench.gpu_smoke --out $(OUT)/gpu-smoke $(SMOKE)

gpu-server:  ## real servers cell by cell: releases, modes, axes; goes on where it was, in ten minutes
	$(WITH_TORCH)
	@$(PYTHON) -m triage.bench.gpu_server --out $(OUT)/gpu-server $(CELLS)

b200:  ## the same for an owner of a Blackwell with SGLang installed; one archive to send back
	$(WITH_TORCH)
	@$(PYTHON) -m triage.bench.gpu_smoke --out $(OUT)/b200 --budget-s 2400 --all-in-one $(SMOKE)
