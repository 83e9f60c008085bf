# Everything that a person does with this repository. `make` alone prints this list.
# Paths are relative, so that the folder's own name may hold blanks and accents.

PYTHON ?= python3
RECIPE ?= podman
BERTH = .venv/bin/berth
PYTEST = .venv/bin/python -m pytest
PASS = $(if $(CONFIG),--config '$(CONFIG)')

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast test-all powercut lint bench clean

help:         ## print this list
	@echo "Berth builds small, immutable operating systems that run containers."; echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | while IFS='|' read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done
	@echo; echo "  RECIPE=minimal|podman|docker chooses what \`run\` boots; CONFIG=FILE hands it a machine config."
	@echo "  BERTH_MIRROR=URL names a Debian mirror where the host's own apt sources do not."

# A folder that was moved, or copied, has an environment that leads to where it was: made anew.
ifneq "$(shell cat .venv/ready 2>/dev/null)" "$(CURDIR)"
.PHONY: .venv/ready
endif

.venv/ready: pyproject.toml .ci/setup
	@sh .ci/setup '$(PYTHON)'

setup: .venv/ready ## make .venv with the `berth` command and everything it needs

run: setup    ## build the default recipe and boot its ISO in QEMU on your terminal (Ctrl-A X ends it); without one, to its first healthy container
	@$(BERTH) build --heal '$(RECIPE)'
	@$(BERTH) run $(PASS) --unattended container.healthy '$(RECIPE)'

test: setup   ## run the tests, but for the slow ones (some 45 minutes on two cores)
	@sh .ci/tests

test-fast: setup ## run the tests that need no QEMU, no packages and no patience (a minute)
	@BERTH_CASES=few $(PYTEST) -q -n 2 -m "not qemu and not packages and not slow and not long" tests

test-all: setup ## run all tests: also what takes too long for `make test`
	@BERTH_TEST_ALL=1 sh .ci/tests

powercut: setup ## cut the power at 20 instants of installations, first boots and updates
	@$(PYTEST) -q -n 2 qemu-tests/test_powercut.py

lint: setup   ## ruff and mypy --strict
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy

bench: setup  ## measure sizes, build times and boot times, and print them; sizes and boots of the full kernel, too
	@.venv/bin/python -m builder.bench

clean:        ## delete what builds and tests left in this folder; downloads stay
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
