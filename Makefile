# make demo   everything on a synthesized sample, ending in runs/demo/report.html
# make test   the whole test suite
# Both set up .venv on a fresh machine with Python 3.11 or newer.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format setup gl clean

demo: setup
	$(BIN)/h2o demo --out runs/demo --overwrite

test: setup gl
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "h2onet needs Python 3.11 or newer; $(PYTHON) is older. Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv, then run make again."; exit 2; }
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/h2onet
	@touch $(READY)

# The OpenGL libraries serve only the tests that compare pyrender with the built-in rasteriser (they skip without),
# libturbojpeg only the lossless JPEG crops; everything else works without them.
gl:
	@if ! { ldconfig -p | grep -q libEGL.so.1 && ldconfig -p | grep -q libGL.so.1 && ldconfig -p | grep -q libturbojpeg; }; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	      libegl1 libgl1 libgl1-mesa-dri libxrender1 libturbojpeg0; } >/dev/null 2>&1 \
	      || echo "OpenGL libraries could not be installed: the pyrender tests will be skipped."; \
	  else echo "OpenGL libraries are missing: the pyrender tests will be skipped (apt-get install libegl1 libgl1 libgl1-mesa-dri libxrender1 libturbojpeg0)."; fi; \
	fi

clean:
	rm -rf $(VENV) runs build *.egg-info
