.DEFAULT_GOAL := help
.PHONY: help run seed check test soak mutants bench bench-peers hops lint screenshots clean static-checks tests-of-providers tests-of-the-rest
.SUFFIXES:

# What is compiled is kept, whatever the environment says: every process of the tests would compile it all again.
unexport PYTHONDONTWRITEBYTECODE

# The first Python that is new enough; `make run PYTHON=…` names another.
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.12 python3.13 python3.11 python3.14 python; do \
	"$$name" -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo "$$name" && break; done)
PYTEST_ARGS ?= -n auto --dist loadscope

# A stamp's name holds the sum of its lock's content: a changed lock installs again, a fresh checkout does not.
stamp = .venv/$(basename $(1))-$(firstword $(shell cksum < $(1))).stamp
RUNTIME := $(call stamp,requirements.lock)
DEV := $(call stamp,requirements-dev.lock)
IN_VENV := .venv/bin
IN_STACK := $(IN_VENV)/python -m tests.stack

help: ## Show these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

run: $(RUNTIME) ## Run the whole hub until Ctrl-C
	@exec $(IN_VENV)/python manage.py up

seed: $(RUNTIME) ## Load CHATS=1000000 made-up chats into the hub that runs; FORCE=1: also where it holds real ones
	@test -n "$$DATABASE_URL" || test -f "$${LLMHUB_HOME:-.llmhub}/runtime.env" || { \
		echo "No hub runs in $${LLMHUB_HOME:-.llmhub}: start one with 'make run' in another terminal first." >&2; exit 1; }
	@exec $(IN_VENV)/python manage.py seed $(if $(CHATS),--chats $(CHATS)) $(if $(FORCE),--force)

check: $(DEV) ## Check style, types and imports, and run every test that needs no server: half a minute
	@$(MAKE) --no-print-directory -j3 -Otarget static-checks tests-of-providers tests-of-the-rest

# The plugin of mypy reads the settings, which want the addresses of servers and connect to none.
static-checks: $(DEV)
	$(IN_VENV)/ruff check
	$(IN_VENV)/ruff format --check
	$(IN_STACK) --no-servers $(IN_VENV)/mypy manage.py llmhub providers chat
	$(IN_VENV)/lint-imports

# Two processes that know nothing of each other: what pytest-xdist costs is more than it gains where tests take so little.
tests-of-providers: $(DEV)
	@$(IN_VENV)/python -m pytest --no-servers -q --no-header tests/providers

tests-of-the-rest: $(DEV)
	@$(IN_VENV)/python -m pytest --no-servers -q --no-header --ignore tests/providers

test: $(DEV) ## Run every test
	@exec $(IN_VENV)/python -m pytest $(PYTEST_ARGS)

soak: $(DEV) ## Run the long tests: faults under load, and streams by the thousand
	@exec $(IN_VENV)/python -m pytest -m soak -p no:randomly -s $(SOAK_ARGS)

mutants: $(DEV) ## Break the hub's promises one by one, and see that its tests notice
	@exec $(IN_VENV)/python -m tests.mutation

bench: $(DEV) ## Measure the hub, a bare proxy and the upstream alone; BENCH_JSON=file: the rows, too
	@exec $(IN_VENV)/python -m tests.bench

bench-peers: $(DEV) ## Measure the hub beside LiteLLM and Portkey, which it installs into .peers
	@exec $(IN_VENV)/python -m tests.bench peers

hops: $(DEV) ## Count our own functions' calls for one chat; HOPS_TRACE=1: each; HOPS_JSON=file: the numbers, too
	@exec $(IN_STACK) $(IN_VENV)/python -m tests.hops

lint: static-checks ## Check style, types, imports and migrations
	$(IN_STACK) $(IN_VENV)/python manage.py makemigrations --check --dry-run

screenshots: $(DEV) ## Take the pictures of README and docs anew; SCREENSHOTS=folder: every page, into that folder
	@exec $(IN_VENV)/python -m tests.browser.screenshots $(SCREENSHOTS)

clean: ## Remove .venv, .peers and caches; the data in .llmhub stay
	rm -rf .venv .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@$(call install,requirements.lock,$@)

$(DEV):
	@$(call install,requirements-dev.lock,$@)

define install
test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
"$(PYTHON)" .ci/install.py $(1) $(2)
endef
