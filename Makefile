PORT ?= 1313
export CODAPI_REQUIRE ?= docker

.PHONY: run setup images sandboxes dev check lint types layers test hostile fuzz fuzz-init faults soak bench schemas format pythons vm upgrade-deps

run: setup
	@exec .venv/bin/codapi serve --port $(PORT)

setup:
	@scripts/setup

# of all folders in images/, or of those in NAMES
images:
	@scripts/images $(NAMES)

# the examples of all sandboxes, or of those in NAMES, and a table of what they took
sandboxes: dev images
	CODAPI_SANDBOXES="$(or $(NAMES),all)" .venv/bin/python -m pytest tests/sandboxes

# .venv with what the tests and checks need
dev:
	@scripts/setup dev

check: lint types layers test

lint: dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	! command -v shellcheck >/dev/null || shellcheck .ci/run scripts/* images/base/bootstrap

types: dev
	.venv/bin/mypy

layers: dev
	.venv/bin/lint-imports

# Those that disturb the whole host, or that a busy one disturbs, run alone, after the others. What fails beside others
# runs once more, alone: the host may have been too busy for it. Both results are shown, the second counts.
test: dev
	CODAPI_TEST_PATIENCE=$${CODAPI_TEST_PATIENCE:-3} .venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not serial" --durations 10 \
	    || .venv/bin/python -m pytest -m "not serial" --last-failed --last-failed-no-failures none
	.venv/bin/python -m pytest -m serial --durations 10

hostile: dev
	.venv/bin/python -m pytest -m hostile

# hostile requests, as many as take some minutes
fuzz: dev
	CODAPI_FUZZ_EXAMPLES=2000 .venv/bin/python -m pytest tests/fuzz

# init's parser under libFuzzer, for an hour or CODAPI_FUZZ_SECONDS
fuzz-init: dev
	command -v clang >/dev/null || scripts/packages clang libclang-rt-dev
	CODAPI_FUZZ_SECONDS=$${CODAPI_FUZZ_SECONDS:-3600} .venv/bin/python -m pytest -s tests/init -k coverage_guided

# processes killed and stopped, daemons that hang, full disks
faults: dev
	.venv/bin/python -m pytest tests/faults tests/e2e/test_kills.py tests/e2e/test_daemon.py tests/e2e/test_ending.py

# thousands of executions, some minutes; CODAPI_SOAK_SEED repeats one
soak: dev
	CODAPI_SOAK_RUNS=10000 .venv/bin/python -m pytest tests/soak

bench: dev
	.venv/bin/python -m benchmarks

format: dev
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# the unit tests on the Python of Debian 13; SUITES names other releases
pythons:
	@scripts/pythons $(SUITES)

# installs on Debian 13 under qemu, and runs the smoke part of the suite there; FRESH=1 makes a new machine
vm:
	@scripts/vm

# docs/schema anew: the JSON Schemas of the config files
schemas: dev
	.venv/bin/python -m codapi_flask.config.schema docs/schema

# constraints.txt anew: the newest versions that setup.cfg allows
upgrade-deps:
	@scripts/upgrade-deps
