# make run     look at this host (creates .venv the first time)
# make test    install everything the tests need, check, test; also on Windows' Python, in Wine (docs/windows.md)
# make check   style, formatting, types on three systems, import contracts
# make bench   figures beside their peers
# make docs    regenerate docs/records.md and docs/commands.md
# make lock    bring the locks in line with pyproject.toml (needs uv; LOCK_ARGS=--upgrade for newer versions)

PYTHON ?= python3
UV ?= uv
LOCK_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests $(wildcard docs)
PYTEST_ARGS ?=

# A test that hangs fails after four minutes; one that hangs where Python cannot interrupt it ends the run, with every stack.
PYTEST := $(BIN)/python -m pytest -q --timeout=240 -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true --cov=hostscope

# The tests on Windows end themselves after 25 minutes; what Wine leaves open must not keep us waiting for ever.
ENDED := $(shell command -v timeout >/dev/null && echo timeout -k 30 2400)

# Debian packages that the tests use: peers to compare with, a compiler, real containers. Tests skip, with the reason, without them.
TEST_PACKAGES := busybox-static curl dbus-daemon dnsmasq-base elfutils gcc gdb iperf3 iproute2 iputils-ping libc6-dev libcap2-bin libpcap0.8 lxc nethogs nftables openssl osslsigncode podman procps rpm runc strace tcpdump tshark util-linux wine wine64

# Locks name versions and hashes only; the index is whatever pip is configured for.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes --requirement
INSTALL_SELF := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-build-isolation --editable .
MYPY := $(BIN)/mypy --package hostscope
COMPILE := $(UV) pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet $(LOCK_ARGS)

# Of the Python that runs in Wine: no markers, because pip evaluates them for the system that it runs on.
COMPILE_WINDOWS := $(UV) pip compile --no-config --python-platform x86_64-pc-windows-msvc --python-version 3.11 --only-binary :all: --generate-hashes --no-header --no-annotate --quiet $(LOCK_ARGS)

.PHONY: run test check style types contracts bench docs lock clean tools windows-skips
.DELETE_ON_ERROR:

run: $(VENV)/.run
	@$(BIN)/hostscope ps

test: tools
	@$(MAKE) --no-print-directory check
	@$(ENDED) $(BIN)/python -m tests.windows.rig.suite >$(VENV)/windows.log 2>&1 & windows=$$!; \
	$(PYTEST) --cov-report= $(PYTEST_ARGS); ours=$$?; \
	echo 'the tests on Windows, which ran beside these:'; wait $$windows; theirs=$$?; cat $(VENV)/windows.log; \
	if [ $$ours -eq 1 ]; then echo 'what failed beside them, once more and alone:'; \
	$(PYTEST) --last-failed --last-failed-no-failures none --cov-append --cov-report= $(PYTEST_ARGS); ours=$$?; fi; \
	if [ $$theirs -eq 1 ]; then echo 'what failed on Windows, once more and alone:'; \
	$(ENDED) $(BIN)/python -m tests.windows.rig.suite --again; theirs=$$?; fi; \
	exit $$((ours + theirs))
	@[ ! -e .coverage.windows ] || $(BIN)/coverage combine --quiet --append .coverage.windows
	@$(BIN)/coverage report --skip-covered

# The same tests as the second half of `make test`, which write down in docs/windows.md what they skip.
windows-skips: tools $(VENV)/.dev
	$(BIN)/python -m tests.windows.rig.suite --record

check: style types contracts

style: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

# Each system is checked as itself: the code that calls it exists in its own folder only, what parses its bytes everywhere.
types: $(VENV)/.dev
	$(MYPY) --platform linux --cache-dir .mypy_cache/linux --exclude 'platforms/(windows|macos)/(?!parse|$$)'
	$(MYPY) --platform win32 --cache-dir .mypy_cache/win32 --exclude 'platforms/(linux|macos)/(?!parse|$$)'
	$(MYPY) --platform darwin --cache-dir .mypy_cache/darwin --exclude 'platforms/(linux|windows)/(?!parse|$$)'

contracts: $(VENV)/.dev
	$(BIN)/lint-imports --no-cache --no-logo

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

tools:
	@scripts/install-test-tools $(TEST_PACKAGES)

lock:
	printf '%s\n' 'hatchling>=1.25' 'editables>=0.5' | $(COMPILE) pyproject.toml - --output-file requirements.lock
	$(COMPILE) pyproject.toml requirements.lock --extra arrow --group dev --output-file requirements-dev.lock
	sed -n '/^numpy/d; s/^\([a-z][^ ]*==[^ ]*\).*/\1/p' requirements-dev.lock | $(COMPILE_WINDOWS) tests/windows/rig/packages.in --constraint - --output-file tests/windows/rig/packages.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("hostscope needs Python 3.11 or later; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) requirements.lock
	$(INSTALL_SELF)
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.run
	$(INSTALL) requirements-dev.lock
	@touch $@
