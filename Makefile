# `make` alone lists the targets; .ci/run says which of them CI runs.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup demo newcomer test test-fast simulate test-versions test-starts check fmt lint docs types cover bench bench-docs control-plane control-plane-build backends browser screenshots consumer manifests site site-tools integration compatibility cluster e2e image release mutate lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

# A lock is complete: with --no-deps pip resolves nothing, and a newer release of an extra cannot disturb it.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements/run.txt | $(VENV)/bin/python
	@echo "Installing what the service needs into $(VENV), once (half a minute)"
	@$(PIP) --require-hashes -r requirements/run.txt
	@touch $@

$(VENV)/.done: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-build-isolation -e .
	@touch $@ $(VENV)/.run

setup: $(VENV)/.done ## Make the virtual environment with the locked tools

demo: $(VENV)/.run ## Watch the service work on an embedded cluster (STAY=1 leaves it up for kubectl)
	@PYTHONPATH=src $(BIN)/python -m toolset demo $(if $(STAY),,--once)

newcomer: ## Prove `make demo` on a Debian with Python, git and make alone (root, debootstrap; 2 minutes)
	hack/newcomer

# Most tests with a server wait for something, so that more workers than cores are right. A worker has servers of its own,
# and takes a file at a time in the order of pyproject's testpaths: the long ones first. Those that hold the service to
# a time while it has thousands of Services or attackers have the machine for themselves, and are not measured, which
# would slow the processes down. `make cover` judges the coverage.
WORKERS ?= 4

test: setup control-plane-build backends consumer manifests browser site-tools ## Run all tests, with a real API server, real backends and HolmesGPT where they are to be had
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25 --cov --cov-report= --cov-fail-under=0 -m "not alone"
	$(BIN)/python -m pytest --durations=5 -m alone

test-fast: setup ## Run the tests that need no server but this program (a minute)
	$(BIN)/python -m pytest -n auto --dist worksteal tests/unit tests/loopback

simulate: setup ## Run the whole service in virtual time, with faults (SEEDS=20, HOURS=6; SEED=7 replays one, SHRINK=1 leaves out what it can)
	@PYTHONPATH=src:tests:hack/controlplane $(BIN)/python -m simulation --hours $(or $(HOURS),6) \
	  $(if $(SEED),--seed $(SEED) $(if $(SHRINK),--shrink),--seeds $(or $(SEEDS),20))

test-versions: setup ## Run the unit tests on every Python that is here, with the locked, newest and lowest dependencies
	hack/versions $(PAIRS)

test-starts: setup ## Run the fast tests with ignored signals, a closed stdin, other umask, time zone, locale, home, TMPDIR (10 minutes)
	hack/starts $(WAYS)

check: lint types test cover ## What to run before a change is proposed: lint, types, tests, coverage

fmt: setup ## Format the code
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

lint: setup ## Check format, lint, import floors, dependencies, scripts, Dockerfiles
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports | tail -n 8
	$(BIN)/deptry src
	$(BIN)/shellcheck --external-sources $$(grep -rlE '^#!/usr/bin/env bash|^# shellcheck shell=bash' .ci bench hack)
	$(BIN)/hadolint Dockerfile hack/cluster/Dockerfile

docs: setup ## Regenerate the reference pages, the layers in the architecture page, the pictures of the demo and of the banner, the schema of the chart
	$(BIN)/python hack/docs/reference.py
	$(BIN)/python hack/docs/banners.py
	$(BIN)/python hack/docs/layers.py
	$(BIN)/python hack/docs/picture.py
	$(BIN)/python hack/docs/chart.py

types: setup ## Check types twice: mypy strict, pyright strict
	$(BIN)/mypy
	$(BIN)/pyright

cover: setup ## Report the coverage of the last test run: 95 % overall, 100 % of core and runtime
	$(BIN)/coverage report
	$(BIN)/coverage report --include='src/toolset/core/*,src/toolset/runtime/*' --fail-under=100

mutate: setup ## List small changes of core and runtime that no test notices (SEED=1, COUNT=300, ONLY=path; about 15 minutes)
	@python=$$(hack/mutate/build)/venv/bin/python; \
	$$python hack/mutate/mutate.py --seed $(or $(SEED),1) --count $(or $(COUNT),300) $(ONLY)

bench: setup control-plane-build ## Measure next to kube-rs, client-go, controller-runtime, kubernetes and kopf (root, Go, Rust for kube-rs; 30 minutes)
	@PYTHONPATH=hack/controlplane $(BIN)/python bench/run.py

bench-docs: setup control-plane-build ## The same, and write docs/benchmarks.md and its charts again
	@PYTHONPATH=hack/controlplane $(BIN)/python bench/run.py --write

control-plane-build: ## Build kube-apiserver and etcd into a cache, once (needs Go 1.26; about 6 minutes)
	@if [ -z "$${KUBEBUILDER_ASSETS:-}" ] && ! command -v go >/dev/null; then \
	  echo "Go is missing: tests that need a real API server are skipped (set KUBEBUILDER_ASSETS, or install Go 1.26)"; \
	else hack/controlplane/build >/dev/null; fi

control-plane: setup control-plane-build ## Start a real API server on loopback, until Ctrl-C
	$(BIN)/python hack/controlplane/controlplane.py start "$$(mktemp -d)"

backends: ## Fetch the real backends for the tests into the cache (Debian packages; with CI_FULL=1 also build Jaeger, OpenSearch, Prometheus 3, VictoriaLogs)
	@hack/backends/all >/dev/null

consumer: ## Make a virtual environment with the real HolmesGPT for the tests, once, in the cache
	@hack/consumer >/dev/null || echo "HolmesGPT could not be installed: tests that need it are skipped"

manifests: ## Fetch promtool and what validates the manifests for the tests, and build Helm, once, in the cache
	@if command -v apt-get >/dev/null; then hack/manifests/build >/dev/null; \
	else echo "apt-get is missing: tests of alerts and schemas are skipped"; fi

site: ## Build the documentation site into build/site (REPOSITORY=https://HOST/OWNER/NAME for links to other files)
	@REPOSITORY="$(REPOSITORY)" hack/site/build

site-tools: ## Install what builds the documentation site, once, in the cache
	@hack/site/tools >/dev/null || echo "Sphinx could not be installed: tests of the documentation site are skipped"

browser: ## Install Chromium and fetch axe-core for the tests of the status page, once (root, Debian)
	@if command -v apt-get >/dev/null; then hack/browser >/dev/null || echo "Chromium could not be installed: tests of the status page are skipped"; \
	else echo "apt-get is missing: tests of the status page in a browser are skipped"; fi

screenshots: setup browser ## Take the pictures of the status page from a real run, into build/pictures
	STATUS_PICTURES=build/pictures $(BIN)/python -m pytest -q tests/browser

# KUBE names a minor release other than the pinned one, KUBE_FLAGS further flags of kube-apiserver.
integration: setup control-plane-build backends manifests ## Run the tests that need the real API server only (KUBE=1.33, KUBE_FLAGS=)
	CONTROL_PLANE_VERSION=$(KUBE) CONTROL_PLANE_FLAGS="$(KUBE_FLAGS)" \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "integration and not alone" $(REPORT)
	CONTROL_PLANE_VERSION=$(KUBE) CONTROL_PLANE_FLAGS="$(KUBE_FLAGS)" $(BIN)/python -m pytest -m "integration and alone"

compatibility: setup backends manifests ## Run them on each release of Kubernetes, and write docs/compatibility.md (40 minutes; ON="1.33:on")
	hack/compatibility $(ON)

cluster: setup ## Run the service and sample backends on a real one-node cluster (root, Debian, Go 1.26; hack/cluster/down ends it)
	hack/cluster/up
	hack/cluster/load
	hack/cluster/deploy

e2e: setup ## Run the image's tests on a real one-node cluster of its own, and see to it that nothing is left of it
	hack/cluster/e2e

image: ## Build the container image with docker, podman or buildah (BASE= names its base, MCP=1 adds what status.mcp needs)
	MCP="$(MCP)" hack/image/build

release: setup ## Build the files of a release into dist, reproducibly (IMAGE=NAME@sha256:DIGEST, REPOSITORY=https://...)
	@IMAGE="$(IMAGE)" REPOSITORY="$(REPOSITORY)" hack/release/build

lock: setup ## Pin all dependencies with hashes again
	hack/consumer --lock
	hack/manifests/build --lock
	bench/peers/build --lock
	hack/mutate/build --lock
	hack/site/tools --lock
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml --group dev -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra mcp -c requirements/dev.txt -o requirements/mcp.txt
	$(COMPILE) pyproject.toml -c requirements/run.txt --override requirements/image.in -o requirements/image.txt
	$(COMPILE) pyproject.toml --extra mcp -c requirements/mcp.txt --override requirements/image.in -o requirements/image-mcp.txt
	$(COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) requirements/sbom.in -o requirements/sbom.txt
	$(COMPILE) requirements/browser.in -o requirements/browser.txt

clean: ## Remove what was made here; the cache with the control plane stays
	rm -rf $(VENV) dist build .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
