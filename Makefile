# make demo: find the people in the sample images       make test: lint, type check and all tests
# make lint: ruff and mypy only                         make bench: the benchmarks of benchmarks/RESULTS.md
# make soak: 20,000 video frames; reports memory use     make hostile: all cases of tests/hostile

PYTHON := .venv/bin/python
INSTALLED := .venv/installed
SOURCES := requirements.txt setup.py pyproject.toml $(wildcard simplepose/grouping/csrc/*)

.PHONY: demo test lint bench soak hostile

demo: $(INSTALLED)
	$(PYTHON) tools/demo_image.py --output output

# One thread per process: several processes run the tests, and many tests start processes of their own. At most 4,
# each with 1 to 2 GB of memory. A process without tests takes over those that others have not started (worksteal).
test: lint
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(INSTALLED)
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy simplepose tools

bench: $(INSTALLED)
	for script in benchmarks/*.py; do $(PYTHON) $$script || exit 1; done

soak: $(INSTALLED)
	$(PYTHON) tests/helpers/soak.py

hostile: $(INSTALLED)
	PYTHONPATH=tests/helpers OMP_NUM_THREADS=1 $(PYTHON) tests/hostile/run.py

$(INSTALLED): $(SOURCES)
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet -r requirements.txt
	$(PYTHON) -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@
