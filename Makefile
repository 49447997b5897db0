# Everything that a developer types; `make help` lists it. Needs git, make and Python 3.11 to 3.13, or uv.
# Kept to what GNU make 3.81 (macOS) and a POSIX shell know. Windows: see README.md.

VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?= -n auto --dist loadfile
LOCK_ARGS ?=

UV := $(shell command -v uv 2>/dev/null)
PY := $(VENV)/bin/python
# A Python that was asked for by name is taken or refused; otherwise the first that fits.
PYTHONS := $(if $(filter file default,$(origin PYTHON)),$(PYTHON) python3.13 python3.12 python3.11 python,$(PYTHON))
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PY) -m pip install --quiet --disable-pip-version-check)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-serving bench-streams bench-store bench-jobs chaos bench-medical fuzz soak lock install format test-deps clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.base-installed ## install what it needs, then two live cameras in the browser (DEMO_ARGS=--headless)
	@$(VENV)/bin/sightline demo $(DEMO_ARGS)

install: $(VENV)/.base-installed ## install Sightline and its locked packages into .venv

test: $(VENV)/.test-installed ## install the test packages, then run all tests (PYTEST_ARGS="-k tracker")
	@$(MAKE) --no-print-directory test-deps
	@$(PY) -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev-installed ## formatting, lint rules, types, import rules
	@failed=; for check in "ruff format --check ." "ruff check ." mypy lint-imports; do \
	    echo "-- $$check"; $(VENV)/bin/$$check || failed="$$failed, $$check"; \
	done; [ -z "$$failed" ] || { echo "failed: $${failed#, }" >&2; exit 1; }

format: $(VENV)/.dev-installed ## format the code, and mend what ruff can mend
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: $(VENV)/.base-installed ## CPU of the pipeline beside bare libraries, start-up times
	@$(PY) -m benchmarks.pipeline

bench-serving: $(VENV)/.test-installed ## CPU of the server beside bare ONNX Runtime, start, overload
	@$(PY) -m benchmarks.serving

bench-streams: $(VENV)/.test-installed ## CPU of reading cameras beside OpenCV, coming back, many cameras, many viewers
	@$(PY) -m benchmarks.streams

bench-jobs: $(VENV)/.test-installed ## empty jobs a second by two workers, wait for an idle one, on SQLite and PostgreSQL
	@$(PY) -m benchmarks.jobs

bench-medical: $(VENV)/.test-installed ## reading, windows, findings, jobs and /infer beside their targets
	@$(PY) -m benchmarks.medical

fuzz: $(VENV)/.test-installed ## 20,000 damaged studies: each is a volume or a refusal that says why (FUZZ_ARGS=--num=1000)
	@$(PY) -m benchmarks.fuzz $(FUZZ_ARGS)

chaos: $(VENV)/.test-installed ## workers killed, frozen and cut off until 100 steps were torn; nothing may be lost
	@$(PY) -m benchmarks.chaos

bench-store: $(VENV)/.test-installed ## 1 GiB through a real S3 server: speed, CPU, memory
	@$(PY) -m benchmarks.object_store

soak: $(VENV)/.test-installed ## a server under load for a minute, with alias swaps and evictions going on
	@$(PY) -m benchmarks.soak

test-deps: ## Debian packages for the RTSP test server (as root; else says what is skipped)
	@sh tools/test_deps.sh

lock: ## resolve anew and write the locks (LOCK_ARGS=--upgrade takes newer versions)
	@VENV="$(VENV)" sh tools/lock.sh $(LOCK_ARGS)

clean: ## take away .venv, caches and built packages
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is older than what it was made from: install again. Every package is checked against a hash: those of
# the lock, the build backend too (hence no build isolation); only this project itself comes without one.

$(PY):
	@sh tools/venv.sh "$(VENV)" $(PYTHONS)

$(VENV)/.base-installed: requirements.txt requirements-build.lock pyproject.toml | $(PY)
	@echo "Installing the locked packages into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r requirements.txt -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test-installed: requirements-test.lock $(VENV)/.base-installed
	@echo "Installing the locked test packages into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r requirements-test.lock
	@touch $@

$(VENV)/.dev-installed: requirements-dev.lock $(VENV)/.base-installed
	@echo "Installing the locked development packages into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
