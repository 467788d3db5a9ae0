# Two commands: `make bench` measures and prints a table, `make test` runs the tests.
# Each sets up what it needs on a fresh machine (Python 3.11 or newer and make) and does nothing twice.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help bench test test-slow test-slurm test-browser check dashboard report paper validate doctor overhead lock impact-tracker clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

bench: $(READY) ## measure four pairs on digits that ship with scikit-learn; print and write the table
	@$(RUN) -m bench experiment=smoke

test: $(READY) ## format, lint, types and the fast tests: what CI runs
	@$(VENV)/bin/ruff format --check -q .
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/mypy
	@$(RUN) -m pytest -n auto --maxprocesses 4 --dist loadscope

test-slow: $(READY) ## the tests that train and measure for minutes
	@$(RUN) -m pytest -m slow

test-slurm: $(READY) ## the tests that start a Slurm of this host: as root, with Debian's slurm-wlm and munge
	@$(RUN) -m pytest -m slurm

test-browser: $(READY) ## the dashboard in Debian's Chromium (apt-get install chromium)
	@$(RUN) -m pytest -m browser

dashboard: $(READY) ## show the results in a browser: http://127.0.0.1:8080/
	@$(RUN) -m bench.dashboard results

report: $(READY) ## rebuild the tables from the records
	@$(RUN) -m bench.report

doctor: $(READY) ## say what this host can measure
	@$(RUN) -m bench.doctor

LATEX := pdflatex -interaction=nonstopmode -halt-on-error main.tex
paper: $(READY) ## report.pdf of the records, and main.pdf where there is LaTeX (paper/README.md)
	@$(RUN) -m bench.report --pdf --quiet
	@if command -v pdflatex >/dev/null && command -v bibtex >/dev/null; then \
		cd paper && { $(LATEX) && bibtex main && $(LATEX) && $(LATEX); } >main.out.txt \
		|| { tail -n 20 main.out.txt; exit 1; }; \
	else \
		echo "no pdflatex and bibtex: paper/main.pdf was not built; paper/README.md names the packages"; \
	fi
	@ls paper/*.pdf

validate: $(READY) ## check the records as a reviewer would
	@$(RUN) -m bench.validate

overhead: $(READY) ## cost of the harness against bare loops, as ratios
	@$(RUN) -m benchmarks.overhead

# Hashes and versions of everything, for every platform at once; no address of any index.
LOCK := $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
lock: $(READY) ## renew the pinned requirements
	$(LOCK) --extra measure --extra tune --extra dashboard --extra develop pyproject.toml requirements/build.in -o requirements/all.txt
	$(LOCK) pyproject.toml requirements/build.in -c requirements/all.txt -o requirements/report.txt

IMPACT := .venv-impact-tracker
impact-tracker: $(IMPACT)/.ready ## set up experiment-impact-tracker in an environment of its own

# It is of 2021: Python 3.11 or older, and libraries of its time. requirements/impact-tracker.in says
# which; renewed by: $(LOCK) requirements/impact-tracker.in -o requirements/impact-tracker.txt
$(IMPACT)/.ready: requirements/impact-tracker.txt | $(READY)
	@echo "setting up $(IMPACT) (about a minute)"
	@$(VENV)/bin/uv venv -q --allow-existing --python 3.11 $(IMPACT)
	@$(VENV)/bin/uv pip install -q --python $(IMPACT)/bin/python --require-hashes --compile-bytecode \
		-r requirements/impact-tracker.txt
	@touch $@

clean: ## remove what set-up made; records and artefacts stay
	rm -rf $(VENV) .venv-impact-tracker .mypy_cache .ruff_cache .pytest_cache

# uv installs in parallel from one cache; bytecode is compiled once, here, since start-up matters in
# every process that a pair takes.
$(READY): requirements/uv.txt requirements/all.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("joulebench needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with make PYTHON=...") if sys.version_info < (3, 11) else 0'
	@echo "setting up $(VENV) (about a minute; the packages are 6 GB)"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/uv.txt
	@$(VENV)/bin/uv pip install -q --require-hashes --compile-bytecode -r requirements/all.txt
	@$(VENV)/bin/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@
