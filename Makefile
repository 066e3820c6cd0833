# make test     everything that must hold: format, lint, types, import rules, then the tests
# make check    the same without the tests
# make test-long what takes long: whole comparisons and final trainings, an outage of the broker of a minute
# make test-systemd the service under a real systemd, booted in a container; as root, minutes
# make fuzz     the property tests alone with many new examples, for an hour or so by hand
# make nemesis  rounds of faults against the real daemon (docs/nemesis.md); ROUNDS=200 and SEED=17 say how many, and from where
# make api      writes docs/schemas, docs/asyncapi.yaml and the tables of docs/mqtt.md anew, from daemon/api/
# make docs     the documentation as a site in site/, with its reference written anew from the code
# make tutorial follows docs/tutorial.md to the letter, in an empty home: minutes, and 600 MB for TensorFlow
# make demo     a whole study of a small ConvNet on two CPU slots, in less than five minutes
# make .venv    the virtual environment that the others use; made by them where it is missing
# make clean    removes what the targets above left behind, but for .venv and data/
#
# Needed: make and Python 3.11 or 3.12 with venv; PYTHON=… names one.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.PHONY: .venv check test test-long test-systemd fuzz nemesis api reference docs tutorial demo clean

# What is installed beside the thin base.
EXTRAS ?= bo,svhn,compare,dev
# Test processes. Each TensorFlow in them wants a core.
JOBS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed

.venv: $(STAMP)

# An environment is changed in place: pip installs what pyproject.toml and constraints.txt ask for anew.
$(STAMP): pyproject.toml constraints.txt
	python="$$(PYTHON='$(PYTHON)' tools/find-python)"; \
	[ -x $(BIN)/python ] || "$$python" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

check: .venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n $(JOBS) -m "not long and not systemd"

test-long: .venv
	$(BIN)/pytest -n $(JOBS) -m long
	CNNBO_OUTAGE_S=60 $(BIN)/pytest tests/integration/test_delivery.py -k while_the_broker_was_away

# One box after another: what each needs of this machine is what the others would need too.
test-systemd: .venv
	$(BIN)/pytest -n 0 -m systemd -o timeout=300 -rs tests/systemd

# Whatever the tests call Hypothesis for carries its marker.
fuzz: .venv
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -n $(JOBS) -m hypothesis -o timeout=7200

# A call that was cut short is gone on with; a single round is always played.
ROUNDS ?= 30
SEED ?= 1001

nemesis: .venv
	$(BIN)/python -m tests.nemesis.run --rounds $(ROUNDS) --seed $(SEED)

api: .venv
	$(BIN)/python -m cnnbo.daemon.api.generate

# The page that is made of the commands.
reference: .venv
	$(BIN)/python tools/docs_site.py

# Material announces its successor at every build. With --quiet, warnings like those of dead links would not fail it.
docs: reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html; with its search, which needs HTTP: $(BIN)/python -m http.server -d site"

tutorial: .venv
	$(BIN)/python tools/follow_tutorial.py

data/digits: | .venv
	$(BIN)/cnnbo data synth $@

# A second `make demo` goes on with the study of the first one; `make clean` forgets it.
demo: .venv data/digits
	@echo "demo: begun at $$(date +%T)"
	$(BIN)/cnnbo run examples/digits.toml --data data/digits --devices cpu:2 --state demo/state
	$(BIN)/cnnbo best digits --state demo/state
	@echo "demo: ended at $$(date +%T)"

clean:
	rm -rf build dist demo nemesis site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
