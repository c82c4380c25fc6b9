# Every target sets up what it needs: a fresh clone has only Python, make, gcc and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check lint bench lock secrets clean

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(READY)  ## the main job against a running server, narrated
	$(BIN)/python -m demo

# One more than the cores of a small machine: much of the time a test waits for something. The tests of a file stay
# together, so that what they share is made once.
test: $(READY)  ## the whole test suite
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## format, lint, types, import contracts, tests

bench: $(READY)  ## the benchmarks: prints a table, writes bench.json
	$(BIN)/python -m benchmarks

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade

lock:  ## resolve requirements.lock anew, and of it what the containers run (needs uv)
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --constraint requirements.lock -o requirements-run.lock

# Containers of several users read the files, so the folder is what keeps others out.
secrets:  ## the secrets of docker-compose.yml, each made once
	@mkdir -p -m 700 secrets
	@cd secrets && for name in secret_key master_key seal_key; do \
		test -e $$name || head -c 32 /dev/urandom | base64 > $$name; done
	@cd secrets && { test -e database_password || head -c 24 /dev/urandom | base64 | tr +/ -_ > database_password; }
	@cd secrets && { test -e database_url || \
		echo "postgresql://mintage:$$(cat database_password)@postgres:5432/mintage" > database_url; }
	@cd secrets && touch smtp_url google_client_secret s3_secret moderation_key && chmod 644 *

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
