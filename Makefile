# Every target sets up what it needs by itself; `make help` lists them.
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
STAMPS := $(VENV)/stamps
CORE := $(wildcard $(addprefix fastilp/_core/,*.pyx *.pxd *.h sha256_*.c store_*.c)) \
	$(wildcard $(addprefix fastilp/loadtest/,*.pyx *.h load_*.c))
MODULES := $(subst /,.,$(patsubst %.pyx,%,$(filter %.pyx,$(CORE))))
RECIPE := setup.py tools/lmdb_provider.py
PYTEST := $(PYTHON) -m pytest
# Tests wait for disks, peers and clocks as much as they compute: one process more than processors.
# A file's tests stay in one process, so that they share what they start.
WORKERS ?= $(shell expr $$(nproc) \* 2)
PARALLEL := $(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ARGS ?=
TIDY := tests/test_source.py tests/test_layers.py
# What the sanitizers look at.
SUITE ?= tests/core tests/property tests/storage
ONCE ?=

# cython-lint looks for pycodestyle on the path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
.DEFAULT_GOAL := help
.PHONY: help dev build debug sanitize test test-debug test-sanitize quicktest coverage lint types
.PHONY: test-checked tidy hunt soak bench-micro bench run wheel ci clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMPS)/run: pyproject.toml tools/setup.sh
	@tools/setup.sh run
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: pyproject.toml tools/setup.sh
	@tools/setup.sh dev
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/run

# One variant at a time lies in the tree; each keeps its own build folder.
$(STAMPS)/built-release: $(CORE) $(RECIPE) | $(STAMPS)/run
	@rm -f $(STAMPS)/built-*
	@echo "fastilp: building what has changed of the core"
	@$(PYTHON) setup.py --quiet build_ext --inplace
	@touch $@

$(addprefix $(STAMPS)/built-,debug sanitize coverage): $(CORE) $(RECIPE) | $(STAMPS)/dev
	@rm -f $(STAMPS)/built-*
	FASTILP_$(shell echo $(@:$(STAMPS)/built-%=%) | tr a-z A-Z)=1 \
	$(PYTHON) setup.py --quiet build_ext --inplace
	@touch $@

$(STAMPS)/built-checked: $(CORE) $(RECIPE) | $(STAMPS)/dev
	@rm -f $(STAMPS)/built-*
	FASTILP_DEBUG=1 FASTILP_SANITIZE=1 $(PYTHON) setup.py --quiet build_ext --inplace
	@touch $@

dev: $(STAMPS)/dev $(STAMPS)/built-release  ## environment with all tools, build, pre-commit hooks
	$(BIN)/pre-commit install

build: $(STAMPS)/built-release  ## compile the core in place
debug: $(STAMPS)/built-debug  ## the same with -O0, assertions and bounds checks
sanitize: $(STAMPS)/built-sanitize  ## the same with AddressSanitizer and UndefinedBehaviorSanitizer

test: $(STAMPS)/dev $(STAMPS)/built-release lint types tidy  ## all gates and all tests
	$(PARALLEL) $(TIDY:%=--ignore=%) $(ARGS)

quicktest: $(STAMPS)/dev $(STAMPS)/built-release  ## tests that take no packaging, no other programs
	$(PYTEST) -x -q -m "not packaging and not interop" $(ARGS)

test-debug: $(STAMPS)/built-debug  ## the tests on the debug build
	$(PARALLEL) -m "not packaging" $(ARGS)

test-sanitize: $(STAMPS)/built-sanitize  ## the core's tests under the sanitizers
test-checked: $(STAMPS)/built-checked  ## the same with the debug build's assertions too
test-sanitize test-checked:
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	PYTHONMALLOC=malloc $(PARALLEL) $(SUITE) $(ARGS)

coverage: $(STAMPS)/built-coverage  ## line coverage of Python and Cython
	$(BIN)/coverage run -m pytest -q -m "not packaging and not interop" $(ARGS)
	$(BIN)/coverage report

lint: $(STAMPS)/dev  ## ruff, cython-lint, import-linter
	$(BIN)/ruff check
	$(BIN)/cython-lint fastilp
	$(BIN)/lint-imports

types: $(STAMPS)/dev $(STAMPS)/built-release  ## mypy, and every stub against its compiled module
	$(BIN)/mypy
	$(PYTHON) -m mypy.stubtest --ignore-unused-allowlist \
	--allowlist tools/stubtest-allowlist.txt $(MODULES)

tidy: $(STAMPS)/dev  ## lengths, words, layers, files that do not belong
	$(PYTEST) -q $(TIDY)

hunt: $(STAMPS)/dev $(STAMPS)/built-release  ## property tests with new seeds
	FASTILP_HUNT=1 $(PYTEST) -q --timeout=3600 -m property $(ARGS)

soak: $(STAMPS)/dev $(STAMPS)/built-release  ## the long counts: model, kills, interop
	FASTILP_SOAK=1 $(PARALLEL) --timeout=7200 $(ARGS)

bench-micro: $(STAMPS)/dev $(STAMPS)/built-release  ## micro benchmarks of the core
	$(PYTEST) bench/micro --benchmark-only --benchmark-columns=min,median,ops $(ARGS)

# BENCH=quick: one short run of each, for a look; the README keeps its figures.
BENCH ?= full
RUNS ?= $(if $(filter quick,$(BENCH)),1,7)
DURATION ?= $(if $(filter quick,$(BENCH)),2,10)
RESULTS ?= bench/results
bench: $(STAMPS)/dev $(STAMPS)/built-release  ## fastilp and others under load; BENCH=quick
	@mkdir -p $(RESULTS)
	$(BIN)/fastilp loadtest bench bench/scenarios --runs $(RUNS) --duration $(DURATION) \
	$(if $(filter quick,$(BENCH)),--warm-up 0.5,--readme README.md) \
	--html $(RESULTS)/report.html --json $(RESULTS)/results.json $(ARGS)

run: $(STAMPS)/built-release  ## a node, two accounts and a burst of payments; ONCE=1 ends after it
	$(BIN)/fastilp demo $(if $(ONCE),--once)

wheel: $(STAMPS)/dev  ## sdist and wheel in dist/
	$(PYTHON) -m build

ci:  ## what a build server runs
	.ci/run

clean:  ## all that was built, not the environment
	rm -rf build dist fastilp.egg-info $(STAMPS)/built-* .mypy_cache .ruff_cache .pytest_cache
	rm -f fastilp/_core/*.so fastilp/loadtest/*.so $(patsubst %.pyx,%.c,$(filter %.pyx,$(CORE)))
