# The commands of this project; `make` without a target lists them.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev install-adoption install-deploy install-bench bench bench-quick image image-test sbom wheel audit run demo test test-fast lint format rules lock tables install-docs docs status-assets screenshots clean

##@ Use
run: install ## Serve on port 8000 (PORT=9000 make run moves it), SQLite under var/
	@PORT=$(PORT) $(BIN)/python -m atom_platform settings >/dev/null
	@PORT=$(PORT) WEB_CONCURRENCY=$${WEB_CONCURRENCY:-2} ATOM_STATUS_PAGE=$${ATOM_STATUS_PAGE:-on} $(BIN)/gunicorn wsgi:app

demo: install-dev ## Serve with Prometheus, Alertmanager and traffic, on loopback
	@$(BIN)/python -m deploy.demo

test: install-dev ## Run the whole suite, a real PostgreSQL included
	$(BIN)/python -m pytest -n 4 --dist loadfile

test-fast: install-dev ## Run units and contract only, in 90 s on two cores
	TEST_EXAMPLES=few $(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/contract

##@ Develop
install: .venv/.installed ## Make .venv with the pinned requirements and the command atom-platform

install-dev: .venv/.installed-dev ## The same with the packages of tests and linters

install-adoption: .venv/.installed-adoption ## Make .venv/adoption: third-party applications for the adoption tests

lint: install-dev ## Run ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev ## Format with ruff, and apply its fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

rules: install-dev ## Generate rules, dashboards and operator objects; check and test the rules
	$(BIN)/python -m deploy.render
	@if command -v promtool >/dev/null; then \
		promtool check rules deploy/prometheus/rules/*.yaml && \
		promtool test rules deploy/prometheus/rules_test/*.yaml deploy/prometheus/rules_test/guide/stories.yaml; \
	elif [ -n "$$CI" ]; then echo "promtool is missing" >&2; exit 1; \
	else echo "skipped: promtool is missing (apt-get install prometheus)"; fi

lock: install-dev ## Pin requirements.in and requirements/*.in with hashes
	for file in requirements requirements/{dev,adoption,deploy,bench,docs} deploy/image/requirements-build; do \
		$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url $$file.in -o $$file.txt; \
	done

tables: install ## Generate the tables in README and docs from the code
	$(BIN)/python docs/tables.py

status-assets: ## Fetch the status page's chart library, as pinned (needs npm)
	deploy/assets/build.sh

screenshots: install-dev ## Take screenshots of the status page (needs chromium)
	$(BIN)/python docs/screenshots.py

install-docs: .venv/.installed-docs ## Make .venv/docs: tools of the documentation site

docs: install-docs ## Build the documentation site into site/, and check its links
	@rm -rf site # unchanged pages would keep an old list of pages
	.venv/docs/bin/sphinx-build --nitpicky --fail-on-warning --keep-going --quiet docs site

##@ Measure
install-bench: .venv/.installed-bench ## Make .venv/bench: the peers of the benchmarks

bench: install-bench ## Measure beside peers for a quarter of an hour; write benchmarks/results/
	.venv/bench/bin/python -m benchmarks --check

bench-quick: install-bench ## Measure for two minutes: fewer peers, shorter loads, no curves
	.venv/bench/bin/python -m benchmarks --quick --check

##@ Ship
install-deploy: .venv/.installed-deploy ## Make .venv/deploy: tools that check deployment files

image: ## Build the image with docker, podman or buildah
	deploy/image/build.sh

image-test: install-dev ## Build the image, run it confined, stop it under load (Linux, root)
	deploy/image/test.sh

sbom: install-dev install-deploy ## Write the CycloneDX SBOM and docs/licences.md
	deploy/release/sbom.sh

wheel: install-deploy ## Build wheel and source archive into dist/
	deploy/release/wheel.sh

audit: install-deploy ## Look up known vulnerabilities of the production packages
	.venv/deploy/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.txt

##@ Here
clean: ## Remove .venv, caches and the site (var/ stays)
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.python:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.python requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/.venv/bin/python" -m atom_platform "$$@"\n' "$$PWD" "$$PWD" >$(BIN)/atom-platform
	@chmod +x $(BIN)/atom-platform
	@touch $@

# Packages that conflict with those of the service have environments of their own.
.venv/.installed-%: .venv/.python requirements/%.txt
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@touch $@

.venv/.installed-dev: .venv/.installed requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
