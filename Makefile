.DEFAULT_GOAL := help
.PHONY: help install demo run test test-all test-stream clients soak check bench wheel deb clean
.PHONY: matrix matrix-bookworm matrix-trixie matrix-testing

CONFIG ?=
PORT ?= 5000
MINUTES ?= 10
SEED ?=
NAME ?=
ARGUMENTS ?=

# Root's byte code would be in the user's way.
as_root := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env PYTHONDONTWRITEBYTECODE=1)
bin := .venv/bin
debian := $(CURDIR)/.run/debian
of_containerd := -m containerd tests/contract tests/e2e tests/faults/test_kills.py tests/faults/test_containerd.py

# Benchmarks choose the way by themselves; what clients are told to do is the same on both.
of_the_way := tests/e2e tests/faults tests/security/test_table.py tests/soak --ignore-glob='tests/e2e/*bench*.py' \
	$(foreach name,booted completion doctor inspect metrics page prometheus readme service setup terminal ways,\
	--ignore=tests/e2e/test_$(name).py)

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

install: ## what the rest needs: Debian's packages and .venv
	@.ci/install

demo: install ## push an image, run it, see it arrive upstream
	@$(as_root) $(bin)/python -m tests.rig.demo

run: install ## the daemon in the foreground; CONFIG=file for your own settings, else PORT=5000
	@$(as_root) $(bin)/$(if $(CONFIG),registry-mirror serve --config $(CONFIG),python -m tests.rig.run $(PORT))

test: install ## the suite, without its slow tests
	$(as_root) $(bin)/pytest -m "not slow"

test-all: install ## the whole suite
	$(as_root) $(bin)/pytest

test-stream: install ## what depends on the way of blobs into containerd, on the other one
	$(as_root) env IMPORT=stream SOAK_MINUTES=1 $(bin)/pytest $(of_the_way)

clients: install ## the tests of real clients, on the newer versions in Debian testing
	@.ci/install debootstrap
	$(as_root) $(bin)/python -m tests.rig.debian testing $(debian)-testing
	$(as_root) env CLIENTS_ROOT=$(debian)-testing $(bin)/pytest tests/clients

# For the night, not for `.ci/run`: a fresh machine has to make two more Debians first. `--keep-going` runs all three.
matrix: matrix-bookworm matrix-trixie matrix-testing ## the tests of containerd, on 1.6 here, 1.7 and 2.x

matrix-bookworm: install # that of this machine
	$(as_root) $(bin)/pytest $(of_containerd)

matrix-trixie matrix-testing: matrix-%: install
	@.ci/install debootstrap
	$(as_root) $(bin)/python -m tests.rig.debian $* $(debian)-$*
	$(as_root) env CONTAINERD_ROOT=$(debian)-$* $(bin)/pytest $(of_containerd)

soak: install ## MINUTES of pushes under chaos; SEED=number for those of an earlier run
	$(as_root) env SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(bin)/pytest tests/soak --log-cli-level=info

check: install ## lint, format, types, imports, dependencies
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/deptry .

bench: install ## every way beside its peers (bench/README.md); NAME=push for one, ARGUMENTS="--rounds 2" for its own
	$(as_root) $(bin)/python -m bench $(NAME) $(ARGUMENTS)

wheel: install ## dist/registry_mirror-….whl, for any Linux with Python 3.11 or newer
	@.ci/wheel dist

deb: wheel ## dist/registry-mirror_….deb, for Debian 12
	@systemd/debian/build "$$(ls -t dist/*.whl | head -n 1)" dist

clean: ## everything that was made in here
	$(as_root) rm -rf .venv .run dist mirror/pb .hypothesis .*_cache
	$(as_root) find . -name __pycache__ -prune -exec rm -r {} +
