# make demo   everything on a synthesized sample, ending in runs/demo/report.html
# make test   the whole test suite
# make fuzz   10,000 changed files, and the table of them in runs/benchmarks/fuzz.md (docs/robustness.md)
# make soak   20,000 frames and 60 interruptions, in runs/benchmarks/soak.json (docs/robustness.md)
# make docs   the pages and the API reference as HTML, site/index.html
# Both set up .venv on a fresh machine with Python 3.11 or newer.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test fuzz soak lint format docs setup gl clean

demo: setup
	$(BIN)/h2o demo --out runs/demo --overwrite

# Without the bytecode of its sources every process of the package compiles them anew, and the tests start hundreds.
# Three at a time on two cores: now and then each waits for a process that it started, or for the disk.
test: setup gl
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

fuzz: setup
	H2O_FUZZ_CASES=10000 H2O_FUZZ_TABLE=runs/benchmarks/fuzz.md OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/fuzz

soak: setup
	$(BIN)/python benchmarks/soak.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The reference is made from a copy of the package: looked for in the repository itself, it would drag .venv along.
docs: setup
	@rm -rf build/docs site
	@$(BIN)/python -c 'import setuptools; setuptools.setup()' --quiet build_py --build-lib build/docs 2>/dev/null
	$(BIN)/mkdocs build --quiet
	@! grep -rnE '<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//' site --include='*.html' || \
	  { echo "site/: a page would load that from the network"; exit 1; }
	@! grep -rnE '(url\(["'"'"']?(https?:)?//|@import)' site --include='*.css' | cut -c1-200 | grep . || \
	  { echo "site/: a style would load that from the network"; exit 1; }

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "h2onet needs Python 3.11 or newer; $(PYTHON) is older. Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv, then run make again."; exit 2; }
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	@# setuptools warns of every editable install that folders beside the package may be imported in its place; here the
	@# package is the whole folder.
	PYTHONWARNINGS='ignore:Editable installation' \
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
	rm -rf $(VENV) runs build site *.egg-info
