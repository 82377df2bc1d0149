# Two commands matter: `make demo` and `make test`. Both install what they need into .venv first.
# TORCH_INDEX=https://download.pytorch.org/whl/cpu makes the install much smaller where that index can be reached.
PYTHON ?= python3
TORCH_INDEX ?=
PAIRS ?= runs/pairs/unseen
LOOKS ?= 3
FILMS ?= runs/films
KILLS ?= 20
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.hilum

export OMP_WAIT_POLICY = passive

.PHONY: help demo test test-clients check bench-speed bench-segment bench-towers bench-serve objective-study clean

help:
	@echo "make demo           install, then segment real images with the embedded model; ends with one contact sheet"
	@echo "make test           install, then run all tests"
	@echo "make test-clients   install what can be installed of Orthanc, Chromium and other unmodified clients, then run their tests"
	@echo "make check          ruff, mypy, import floors, tests"
	@echo "make bench-speed    ratios of speed from one run (five minutes of an otherwise idle machine; LOOKS=1 is shorter)"
	@echo "make bench-towers   pictures a second through a ViT-B/16 tower, beside open_clip's loop; FILMS=folder of PNG or JPEG"
	@echo "make bench-serve    prompts in flight, sessions in a row, kill -9: against a hilum serve of its own (minutes; KILLS=20)"
	@echo "make objective-study  the contrastive objectives on the same pairs (an hour; wants ../shared/data)"
	@echo "make bench-segment  Dice of scout beside the ellipse, per source; PAIRS=folder of labelled cases (recipes/pairs.py makes one)"

$(VENV)/bin/python:
	@scripts/venv $(PYTHON) $(VENV)

$(STAMP)-demo: pyproject.toml | $(VENV)/bin/python
	@scripts/install $(BIN) demo "$(TORCH_INDEX)"
	@touch $@

$(STAMP)-test: pyproject.toml | $(VENV)/bin/python
	@scripts/install $(BIN) test,demo "$(TORCH_INDEX)"
	@touch $@ $(STAMP)-demo

$(STAMP)-bench: pyproject.toml | $(VENV)/bin/python
	@scripts/install $(BIN) demo,bench "$(TORCH_INDEX)"
	@touch $@ $(STAMP)-demo

demo: $(STAMP)-demo
	@$(BIN)/python -m hilum.app.demo --out demo

test: $(STAMP)-test
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

test-clients: $(STAMP)-test
	@scripts/test-clients

check: $(STAMP)-test
	@scripts/check -q

bench-speed: $(STAMP)-bench
	@env -u OMP_WAIT_POLICY $(BIN)/python -m hilum.bench.speed --pairs $(LOOKS)

bench-towers: $(STAMP)-test
	@$(BIN)/pip install -q nncf
	@env -u OMP_WAIT_POLICY $(BIN)/python -W ignore -m hilum.bench.tower_speed --data "$(FILMS)"

bench-serve: $(STAMP)-test
	@$(BIN)/python -W ignore -m hilum.bench.serving --kills $(KILLS) --write docs/measurements.md

objective-study: $(STAMP)-test
	@cd recipes && ../$(BIN)/python biomedclip_pocket.py prepare && ../$(BIN)/python objective_study.py run && ../$(BIN)/python objective_study.py table

bench-segment: $(STAMP)-bench
	@$(BIN)/hilum bench segment --data "$(PAIRS)" --system scout -o runs/bench-segment --force

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache
