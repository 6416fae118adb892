# Two commands: `make tables` (the demo's tables) and `make test` (all tests). Both set everything up first.

PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
.DEFAULT_GOAL := tables

# The environment, exactly as pinned. uv, because it takes the pins as they are; --no-deps, because they are complete.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else \
	  "tellsign needs Python 3.11 or 3.12, not %d.%d. Say which one: make PYTHON=python3.12" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep ^uv== requirements.lock)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Executors for the tests of clusters: beside the environment, because they would slow every other start of snakemake.
.venv/plugins/.ready: requirements-plugins.lock | .venv/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target .venv/plugins -r requirements-plugins.lock
	touch $@

# Remotes by SSH and S3, and a server, for the tests of sharing: beside it too, because S3's library wants older packages.
.venv/remotes/.ready: requirements-remotes.lock | .venv/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target .venv/remotes -r requirements-remotes.lock
	touch $@

.PHONY: env team tables figures report zoo test faults check audit bench licences picture lock clean
env: .venv/.ready ## the environment alone

team: .venv/.ready ## let git merge data.dvc of two branches by its artifacts (docs/team.md)
	$(BIN)/tellsign share --setup

tables figures report: .venv/.ready ## make them for the default configuration, the demo
	$(BIN)/snakemake --cores $(CORES) $@

zoo: .venv/.ready ## every detector in miniature, on the demo's images
	$(BIN)/snakemake --cores $(CORES) zoo --configfile config/demo-zoo.yaml

test: .venv/.ready .venv/plugins/.ready .venv/remotes/.ready ## every test, the end-to-end demo included
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

faults: .venv/.ready ## the fault suite at full scale; hours on two cores. Its counts: faults.jsonl, docs/reliability.md
	TELLSIGN_FAULTS=full TELLSIGN_FAULTS_REPORT=$(CURDIR)/faults.jsonl $(BIN)/python -m pytest tests/faults

audit: .venv/.ready ## known vulnerabilities of the pinned packages (needs a network); licences
	$(BIN)/python benchmarks/audit.py

bench: .venv/.ready ## ratios and growth on this CPU, in minutes (benchmarks/NOTES.md); OMP_NUM_THREADS=1 for one core
	$(BIN)/python -W ignore benchmarks/decode.py
	$(BIN)/python -W ignore benchmarks/crops.py
	$(BIN)/python -W ignore benchmarks/growth.py

licences: .venv/.ready ## write docs/licences.md again
	$(BIN)/python benchmarks/audit.py --write

picture: .venv/.ready ## draw docs/images/architecture.svg again
	$(BIN)/python benchmarks/architecture.py --write

check: .venv/.ready ## style, types, workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/snakemake --lint

lock: ## renew requirements.lock from the ranges in pyproject.toml
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --group dev --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --extra slurm --extra kubernetes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --constraint requirements.lock pyproject.toml \
	  | grep ^snakemake-executor > requirements-plugins.lock
	grep -v ^python-dateutil== requirements.lock | $(BIN)/uv pip compile --quiet --python $(BIN)/python --group remotes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --constraint /dev/stdin pyproject.toml \
	  | grep -vxFf requirements.lock > requirements-remotes.lock

clean: ## remove what the pipeline made
	rm -rf data cache results logs .snakemake
