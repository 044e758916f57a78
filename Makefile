# Two commands for everyone:   make notebooks   make test
# For maintainers:             make outputs   make benchmarks   make constraints   make clean
# Another interpreter:         make test PYTHON=/path/to/python3.12

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help notebooks test outputs benchmarks constraints clean

PYTHON ?=
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3 python)
VENV := .venv/bin/python
# Settings that must precede the process: compile cache, threads, allocator.
RUN := $(VENV) repgeo/book/launch.py $(VENV)
INPUTS := $(wildcard notebooks/*.ipynb notebooks/*.md tests/benchmarks/measured.json) $(shell find repgeo data -type f \
	! -name '*.pyc' ! -path '*/.*' 2>/dev/null | grep -v ' ')

help:
	@echo "make notebooks   execute every notebook and write build/index.html"
	@echo "make test        run every test, notebooks included"

# The environment: made once, again when a dependency or a pin changes.
.venv/.ready: pyproject.toml constraints.txt
	@found=; refused=; for name in $(CANDIDATES); do \
	  command -v "$$name" >/dev/null 2>&1 || continue; \
	  said=$$("$$name" -c 'import sys; print(sys.version.split()[0]); sys.version_info < (3, 11) and sys.exit("old"); import ensurepip, venv' 2>/dev/null) \
	    && { found=$$name; break; }; \
	  refused="$$refused$${refused:+, }$$name$${said:+ ($$said)}"; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "repgeo needs Python 3.11 or newer with venv; found $${refused:-none}. Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	mkdir -p build/logs; SECONDS=0; \
	if ! $(VENV) -c '' 2>/dev/null; then \
	  echo "environment: making .venv with $$("$$found" -V) (about 1 GB, a few minutes)"; \
	  rm -rf .venv && "$$found" -m venv .venv >build/logs/environment.log 2>&1 \
	    || { echo "environment: $$found cannot make .venv; see build/logs/environment.log" >&2; exit 1; }; \
	fi; \
	$(VENV) -m pip install --disable-pip-version-check -c constraints.txt -e '.[notebooks,test]' 2>&1 \
	  | tee build/logs/environment.log \
	  | awk '/^(Collecting|Processing) / && ++n % 25 == 0 {print "environment: " n " packages found"; fflush()} /^Installing collected/ {print "environment: installing"; fflush()}' \
	  || { tail -n 5 build/logs/environment.log >&2; echo "environment: pip failed; see build/logs/environment.log" >&2; exit 1; }; \
	touch $@; echo "environment: ready after $$SECONDS s"

# A report is written even when a notebook failed; the old date makes the next `make` try again.
build/index.html: .venv/.ready $(INPUTS)
	@$(RUN) -m repgeo.book run --out build; failed=$$?; \
	$(RUN) -m repgeo.book build --notebooks build/notebooks --claims build/claims --out build \
	  $$([ $$failed -eq 0 ] || echo --quiet) || exit 1; \
	if [ $$failed -ne 0 ]; then touch -t 200001010000 $@; exit $$failed; fi; touch $@

notebooks: build/index.html
	@echo "up to date: build/index.html"

# One worker a core, four at most for memory; a test file stays in one worker, and files start in the order collected.
test: .venv/.ready
	@$(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Execute the committed notebooks in place and record their claims; then review the diff.
outputs: .venv/.ready
	@$(RUN) -m repgeo.book run --inplace $(ARGS) && $(RUN) -m repgeo.book readme

benchmarks: .venv/.ready
	@$(VENV) -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(RUN) tests/benchmarks/run.py $(ARGS)

# Of the benchmarks' peers torch alone is pinned: its own dependencies differ from system to system.
constraints:
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate \
	  --extra notebooks --extra test pyproject.toml -o build/constraints.txt
	@{ cat build/constraints.txt; grep '^torch==' constraints.txt; } > build/constraints.new && mv build/constraints.new constraints.txt

clean:
	@rm -rf build .venv
