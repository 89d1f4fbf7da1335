# The commands of this project; `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev run demo test lint format rules lock tables clean

##@ Use
run: install ## Serve on port 8000 (PORT=9000 make run moves it), SQLite under var/
	@PORT=$(PORT) $(BIN)/python -m atom_platform settings >/dev/null
	@PORT=$(PORT) WEB_CONCURRENCY=$${WEB_CONCURRENCY:-2} $(BIN)/gunicorn wsgi:app

demo: install-dev ## Start it with Prometheus, Alertmanager and traffic, on loopback
	@$(BIN)/python -m deploy.demo

test: install-dev ## Run the whole suite, a real PostgreSQL included
	$(BIN)/python -m pytest -n 4 --dist loadfile

##@ Develop
install: .venv/.installed ## Make .venv with the pinned requirements

install-dev: .venv/.installed-dev ## ... and with what tests and linters need

lint: install-dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev ## Let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

rules: install-dev ## Make rules, dashboards and operator objects from their sources; check and test the rules
	$(BIN)/python -m deploy.render
	@if command -v promtool >/dev/null; then \
		promtool check rules deploy/prometheus/rules/*.yaml && \
		promtool test rules deploy/prometheus/rules_test/*.yaml deploy/prometheus/rules_test/guide/stories.yaml; \
	elif [ -n "$$CI" ]; then echo "promtool is missing" >&2; exit 1; \
	else echo "skipped: promtool is missing (apt-get install prometheus)"; fi

lock: install-dev ## Pin requirements*.in with hashes
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url requirements-dev.in -o requirements-dev.txt

tables: install ## Renew the tables in README and docs from the code
	$(BIN)/python docs/tables.py

clean: ## Remove .venv and what runs leave behind (var/ stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.python:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.python requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
