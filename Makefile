# make        create the environment in .venv
# make demo   run samples, train, export and predict in demo/
# make test   run the tests
# make check  run ruff, mypy --strict and the tests
# make gpu    measure and test on this machine's GPUs; writes gpu.json

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin

.PHONY: env demo test check gpu peers clean

env: .venv/.installed

# --editable: the environment follows the checkout. .installed is touched last, so a failed install is repeated.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: env
	mkdir -p demo
	cd demo && $(BIN)/alexnet-tk samples images/
	cd demo && $(BIN)/alexnet-tk train --overwrite
	cd demo && $(BIN)/alexnet-tk export model.pt --overwrite
	cd demo && $(BIN)/alexnet-tk predict images/ --top5 --output answers.csv --overwrite
	cd demo && $(BIN)/alexnet-tk predict images/*/0000.png --top5 --format table
	@echo 'In demo/: images/ (1,000 pictures), model.pt (checkpoint), model.onnx (the network to deploy), answers.csv (all answers).'

test: env
	$(BIN)/python -m pytest -q

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

# Both run, whatever the first finds.
gpu: env
	$(BIN)/python benchmarks/gpu.py; measured=$$?; $(BIN)/python -m pytest -q -m gpu && exit $$measured

# A line of peers.txt at a time: a peer that can't be installed leaves the others.
peers: env
	$(PYTHON) -m venv .venv-peers
	@grep -v '^#' benchmarks/peers.txt | while read -r peer; do \
	  .venv-peers/bin/python -m pip install --quiet $$peer || echo "not installed: $$peer"; \
	done

clean:
	rm -rf .venv .venv-peers demo build dist *.egg-info
