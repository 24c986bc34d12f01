# Two commands: `make demo` and `make test`. Both make their own environment in .venv and need Python 3.11 to 3.13.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
OUTPUT ?= demo-output

.PHONY: demo test test-all lint benchmarks system clean

demo: $(VENV)/installed-viz system
	$(BIN)/tomo3d demo -o $(OUTPUT)

test: $(VENV)/installed-test system
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/installed-test system
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

benchmarks: $(VENV)/installed-test
	$(BIN)/python -m benchmarks.run

# Pictures in 3-D need OpenGL: as root on Debian or Ubuntu it is brought, otherwise it is named. All else works without.
system:
	@if ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1' || [ "$$(uname)" != Linux ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "bringing OpenGL: libegl1 libgl1-mesa-dri"; \
		{ apt-get update && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri; } >/dev/null 2>&1 \
			|| echo "OpenGL could not be brought: there will be no 3-D pictures"; \
	else \
		echo "No OpenGL: 3-D pictures are left out. To have them: sudo apt-get install libegl1 libgl1-mesa-dri"; \
	fi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed, got: $$($(PYTHON) --version). Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-viz: $(BIN)/python setup.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[viz]'
	@touch $@

$(VENV)/installed-test: $(BIN)/python setup.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[viz,test]'
	@touch $@ $(VENV)/installed-viz

$(VENV)/installed-dev: $(BIN)/python setup.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[viz,test,dev]'
	@touch $@ $(VENV)/installed-test $(VENV)/installed-viz

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
