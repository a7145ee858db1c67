# `make help` says what there is. Needs: make, Python 3.11 or newer with venv, or uv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
VENV ?= .venv
BIND ?= 127.0.0.1:8182
IMAGES ?=
ARGS ?=
UV := $(shell command -v uv 2>/dev/null)

BIN := $(VENV)/bin
OPENSEADRAGON := iiif_proxy/web/static/openseadragon/openseadragon.min.js
ANNOTORIOUS := iiif_proxy/web/static/annotorious/annotorious.js
PACKAGING := setup.cfg pyproject.toml constraints.txt
ifdef UV
  # uv finds a Python that is new enough by itself, unless one is named.
  MAKE_VENV = uv venv --quiet --python "$(if $(filter file,$(origin PYTHON)),>=3.11,$(PYTHON))" $(VENV)
  INSTALL = uv pip install --quiet --python $(BIN)/python -c constraints.txt
  WHEEL = uv build --quiet --wheel --out-dir dist .
else
  MAKE_VENV = $(PYTHON) -m venv $(VENV)
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
  WHEEL = $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
endif
# Of Debian: what some of the tests run beside Python.
SYSTEM_PACKAGES := nginx-light libjpeg-turbo-progs libopenjp2-tools libmagic1 chromium-headless-shell \
    fonts-dejavu-core openssl redis-server systemd
NEEDS_PYTHON := iiif-proxy needs Python 3.11 or newer; name one: make PYTHON=python3.12
NEEDS_VENV := No virtual environment could be made: install uv, or on Debian and Ubuntu the package python3-venv.

.PHONY: help run test lint format coverage bench docs build constraints openseadragon viewers system-packages clean

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' Makefile | expand -t 18

run: $(VENV)/.run openseadragon  ## The proxy before a demo origin: make run [IMAGES=folder] [BIND=host:port]
	@$(BIN)/python -m iiif_proxy.demo --bind "$(BIND)" $(if $(IMAGES),--images "$(IMAGES)")

test: $(VENV)/.dev openseadragon viewers  ## Every test: make test [ARGS='-k words']
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(ARGS)

lint: $(VENV)/.dev  ## ruff, mypy --strict, and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.dev openseadragon viewers  ## The tests, and what they do not reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV)/.dev  ## Measurements side by side, printed as ratios
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.dev  ## The documents as a site, in build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

build: $(VENV)/.dev $(OPENSEADRAGON) $(ANNOTORIOUS)  ## The wheel, with OpenSeadragon inside, into dist/
	rm -rf build
	@$(WHEEL)
	@ls -1 dist/*.whl

constraints:  ## Pin anew what is tested (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras setup.cfg --upgrade --quiet \
	    --no-annotate --custom-compile-command 'make constraints' --output-file constraints.txt

openseadragon: | $(VENV)/.python  ## Fetch the scripts of the pages, if they can be had
	@test -f $(OPENSEADRAGON) || $(BIN)/python tools/fetch_openseadragon.py --optional
	@test -f $(ANNOTORIOUS) || $(BIN)/python -m tools.fetch_annotorious --optional

viewers: | $(VENV)/.python  ## Fetch the viewers that the tests try, if they can be had
	@$(BIN)/python -m tests.viewers.packages

$(OPENSEADRAGON): tools/fetch_openseadragon.py | $(VENV)/.python
	@$(BIN)/python tools/fetch_openseadragon.py
	@touch $@

$(ANNOTORIOUS): tools/fetch_annotorious.py tools/npm.py | $(VENV)/.python
	@$(BIN)/python -m tools.fetch_annotorious
	@touch $@

system-packages:  ## What some tests run beside Python (Debian, as root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-upgrade --no-install-recommends $(SYSTEM_PACKAGES)

clean:  ## Everything that can be made again
	rm -rf build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
	    .import_linter_cache .hypothesis iiif_proxy/web/static/openseadragon \
	    iiif_proxy/web/static/annotorious .viewers $(VENV)

# The virtual environment: a stamp a step, so that a second run does nothing.
$(VENV)/.python:
ifndef UV
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(NEEDS_PYTHON)" >&2; exit 1; }
endif
	@test -x $(BIN)/python || $(MAKE_VENV) \
	    || { rm -rf $(VENV); echo "$(NEEDS_VENV)" >&2; exit 1; }
	@touch $@

$(VENV)/.run: $(PACKAGING) | $(VENV)/.python
	@echo "Installing into $(VENV) …"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(PACKAGING) | $(VENV)/.python
	@echo "Installing into $(VENV), with all that the tests need …"
	@$(INSTALL) -e '.[bulk,cluster,heif,jp2,jwt,pdf,raw,s3,tiff,test,lint,docs]'
	@touch $@ $(VENV)/.run
