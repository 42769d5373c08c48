# Everything runs in .venv, which `make install` makes from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PRESET ?= half-cheetah-dir
OUT ?= runs/$(PRESET)

BENCH ?= runs/bench
# A worker for each core, with one thread each; files stay whole, since their fixtures are shared.
PYTEST := OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: train test test-fast bench lint docs package install clean

train: install          ## meta-train PRESET into OUT (or go on with it), evaluate it, and write a page on it
	if test -e $(OUT)/config.json; then $(BIN)/rlmaml train --resume $(OUT); \
	else $(BIN)/rlmaml train $(PRESET) --out $(OUT); fi
	$(BIN)/rlmaml evaluate $(OUT)
	$(BIN)/rlmaml report $(OUT)

test: install           ## all tests, within 5 minutes on two cores
	$(PYTEST)

test-fast: install      ## tests that train nothing, in about a minute on two cores
	$(PYTEST) -m "not slow"

bench: install          ## an iteration's time as a multiple of its physics, and of a plain implementation's
	mkdir -p $(BENCH)
	$(BIN)/python -m benchmarks.iteration half-cheetah-vel --frame-skip 1 --plain --out $(BENCH)/half-cheetah-vel-1.json
	$(BIN)/python -m benchmarks.iteration half-cheetah-vel --frame-skip 5 --plain --out $(BENCH)/half-cheetah-vel-5.json
	$(BIN)/python -m benchmarks.iteration ant-vel --frame-skip 5 --tasks 40 --hidden 100 100 --out $(BENCH)/ant-vel.json

lint: install           ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

docs: .venv/docs        ## the docs as a site, into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

package: install        ## a wheel and an sdist, in dist/, tried in an environment of their own
	$(BIN)/python -m tests.helpers.package

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:                  ## remove the virtual environment and caches; never runs/
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info
