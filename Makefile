# Everything happens in a virtual environment of its own; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out
BIN := $(VENV)/bin
# Tests of one file share what they compile, so one worker takes them all; long files come early.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all test-oldest mutants audit lint docs operators clean

# Learns the noisy-sticks filter and cleans a real page; pictures and networks in $(OUT).
demo: $(VENV)/demo
	$(BIN)/python -m experiments.denoise --data=sticks --out_dir=$(OUT)/sticks --overwrite
	$(BIN)/python -m experiments.denoise --data=page --out_dir=$(OUT)/page --overwrite

test: $(VENV)/test
	$(BIN)/python -m pytest $(PARALLEL)

# With the slow ones.
test-all: $(VENV)/test
	$(BIN)/python -m pytest $(PARALLEL) -m ''

# With the oldest versions of other packages that setup.cfg allows.
test-oldest: $(VENV)-oldest/test
	$(VENV)-oldest/bin/python -m pytest $(PARALLEL)

# Whether a test fails when one operator or number of the modules behind the proofs is another.
mutants: $(VENV)/test
	$(BIN)/python -m pip install --quiet cosmic-ray
	$(BIN)/python -m tests.support.mutants --out=$(OUT)/mutants.json

# Known vulnerabilities of installed packages; asks PyPI over the network.
audit: $(VENV)/test
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --skip-editable

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror bimonn_jax/deployment/c/engine.c
	$(BIN)/mypy

# The pages of docs/, with the reference, in $(OUT)/docs.
docs: $(VENV)/docs
	$(BIN)/python -m mkdocs build --strict --site-dir $(abspath $(OUT))/docs

# The table of learned operators, by both recipes.
operators: $(VENV)/demo
	$(BIN)/python -m experiments.operators --out_dir=$(OUT)/operators --overwrite

$(VENV)/demo: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[viz]'
	touch $@

$(VENV)/docs: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/test: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)-oldest/test: setup.cfg
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet uv
	$(VENV)-oldest/bin/uv pip install --quiet --python $(VENV)-oldest/bin/python \
		--resolution lowest-direct --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-oldest $(OUT) .cache build *.egg-info
