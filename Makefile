# make demo: two participants on this machine carry a flow from one to the other
# make test: everything that the project promises, on the real things
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# tests run side by side, each file as a whole, because each runner starts brokers of its own
RUNNERS ?= 2

.PHONY: demo test kill-test fuzz check bench docs clean

demo: $(VENV)/.installed
	@$(BIN)/eson demo

$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ESON needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing ESON into $(VENV) …"
	@$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(BIN)/python -m pip install -q -e '.[test]'
	@touch $@

test: $(VENV)/.installed-test
	@scripts/install-test-servers
	@$(BIN)/python -m pytest -n $(RUNNERS) --dist loadfile $(PYTEST_ARGS) || { \
		echo "What failed beside other tests is tried once more, alone" >&2; \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(PYTEST_ARGS); }

# exactly once the long way, about an hour: 300 kills of processors of all kinds and 50 of brokers, on one node and on
# three; a processor that is stopped for a minute; the same kills once more of one bridge; 100 rounds of SUBSCRIBE and
# UNSUBSCRIBE in which agents, brokers and processors of both sides die; 100 kills of the embedded broker under load; how
# soon a killed processor carries again (on a machine that does nothing else), and what memory 10 million events take
kill-test: $(VENV)/.installed-test
	@scripts/install-test-servers
	@ESON_KILLS=$${ESON_KILLS:-300} ESON_BROKER_KILLS=$${ESON_BROKER_KILLS:-50} \
		ESON_STOP_SECONDS=$${ESON_STOP_SECONDS:-60} ESON_SUBSCRIBE_KILLS=$${ESON_SUBSCRIBE_KILLS:-100} \
		ESON_EMBEDDED_KILLS=$${ESON_EMBEDDED_KILLS:-100} ESON_RECOVERIES=$${ESON_RECOVERIES:-100} \
		ESON_MILLIONS=$${ESON_MILLIONS:-10} \
		$(BIN)/python -m pytest -s $(addprefix tests/integration/,test_proof_kills.py test_proof_stopped.py \
		test_bridge.py::test_kills_lose_nothing_and_repeat_nothing \
		test_bridge.py::test_killed_brokers_lose_nothing_and_repeat_nothing \
		test_subscribe_kills.py test_embedded_kills.py test_proof_figures.py) $(PYTEST_ARGS)

# every parser of strangers' octets, guided by coverage: a minute for each of nine (ESON_FUZZ_SECONDS, TARGETS)
fuzz: $(VENV)/.installed-test
	@$(BIN)/python -m pip install -q -e '.[fuzz]'
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run $(TARGETS)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-test
	@$(BIN)/python -m pip install -q -e '.[bench]'
	@scripts/install-test-servers
	@$(BIN)/python -m bench

docs: $(VENV)/.installed-test
	@$(BIN)/python -m pip install -q -e '.[docs]'
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
