# at110: start it, check it, measure it.
#
#   make run     install into .venv when needed, then start the exchange (Ctrl-C ends it in order)
#   make test    everything: style, types, unit tests, and calls with real phones
#   make lint | unit | live   the parts of it
#   make test-sanitize   the native media engine under ASan+UBSan and TSan: its tests, and some of the soak
#   make bars    the bars at their full size, a row each and a table at the end: some hours; BARS="F12 F27" runs some of them
#   make soak    random calls on both media engines, every packet accounted for (SOAK_MINUTES=5)
#   make bench   measure and write bench.json
#   make fuzz    60 s of fuzzing per target, with atheris where it can be installed (FUZZ_SECONDS=60)
#   make clean   remove what the others made (never the state folder: evidence is in it)
#
# PYTHON=python3.12 chooses the interpreter .venv is made with, VENV=folder another folder than .venv.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.PHONY: run test test-sanitize native lint unit live bench bars soak fuzz clean python ensurepip debian
MAKEFLAGS   += --no-print-directory

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Headers of the interpreter, to compile the native media engine; one that is not Debian's brings its own.
HEADERS = $(shell $(PYTHON) -c 'import os, sysconfig; print("" if os.path.exists(sysconfig.get_path("include") + "/Python.h") else "python3-dev")')

# What the tests use as independent phones, proxies, attackers and judges. No service of them is used: a test starts its own.
DEBIAN_PACKAGES := baresip-core baresip-ffmpeg linphone-cli sip-tester tshark ffmpeg sox sipsak chromium kamailio kamailio-tls-modules rtpengine-daemon slowhttptest sslscan iproute2 gcc libc6-dev
export DEBIAN_FRONTEND := noninteractive
export PIP_ROOT_USER_ACTION := ignore

run: $(VENV)/.installed
	@exec $(BIN)/at110 serve

# --- installing ---------------------------------------------------------------------------------------------------

python:
	@command -v $(PYTHON) >/dev/null || { echo "at110: $(PYTHON) not found; Python 3.11 or later is needed / 找不到 $(PYTHON)，需要 Python 3.11 或更高版本" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "at110: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())') / 需要 Python 3.11 或更高版本" >&2; exit 1; }

# Debian splits ensurepip off its python3. Nothing can be installed into a .venv without it.
ensurepip: python
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && exit 0; \
	package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "at110: $(PYTHON) cannot make a virtual environment; installing Debian's $$package / 正在安装 $$package"; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package; \
	else \
	    echo "at110: $(PYTHON) cannot make a virtual environment; as root: apt-get install $$package / 请以 root 安装 $$package" >&2; exit 1; \
	fi

# What the native media engine is built from; without a C compiler it is left out and the Python engine runs.
NATIVE := setup.py $(filter-out rtp/native/_relay.c,$(wildcard rtp/native/*.pyx rtp/native/*.pxd rtp/native/*.pxi rtp/native/*.c rtp/native/*.h))

# A stamp is newer than pyproject.toml when what that file asks for is installed.
$(VENV)/.installed: pyproject.toml $(NATIVE) | ensurepip
	@echo "at110: installing into $(VENV) (the first time takes a minute or two) / 正在安装，首次需要一两分钟"
	@[ -x $(BIN)/python ] && $(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed
	@echo "at110: installing what the tests need / 正在安装测试依赖"
	@$(PIP) install --quiet --editable '.[test]'
	@touch $@

# Built in place for the tests, whatever the installation found: both engines are tested. Without a compiler that is told, and the
# tests of the native one are left out; in CI (`CI` is set) that is a failure.
native: $(VENV)/.installed-test debian
	@$(BIN)/python -m tests.kit.build_native --if-needed --or-skip

# What they install as a service is neither started nor left to start with the machine (Kamailio would take port 5060).
debian:
	@missing=""; for package in $(DEBIAN_PACKAGES) $(HEADERS); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "at110: installing Debian packages for the tests:$$missing"; \
	    policy=/usr/sbin/policy-rc.d; \
	    [ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; }; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing || exit 1; \
	    for service in kamailio rtpengine-daemon; do case "$$missing" in *$$service*) systemctl disable $$service >/dev/null 2>&1 || true;; esac; done; \
	else \
	    echo "at110: the tests need Debian packages that are missing; as root: apt-get install$$missing / 测试缺少软件包" >&2; exit 1; \
	fi

# --- checking -----------------------------------------------------------------------------------------------------

# $(call timed,name,command): run it and say how long it took.
timed = SECONDS=0; echo "== $(1)"; $(2); echo "== $(1): $$SECONDS s"

test: $(VENV)/.installed-test debian native
	@$(MAKE) lint
	@$(MAKE) unit
	@$(MAKE) live
	@echo "== everything passed / 全部通过"

lint: $(VENV)/.installed-test
	@$(call timed,ruff,$(BIN)/ruff check .)
	@$(call timed,ruff format,$(BIN)/ruff format --check .)
	@$(call timed,mypy,$(BIN)/mypy server.py pbx routing rtp recordings tests)
	@$(call timed,import-linter,$(BIN)/lint-imports)

unit: $(VENV)/.installed-test
	@$(call timed,unit tests,$(BIN)/pytest -q -n auto --durations=10 --ignore=tests/live)

# Where sound is measured nothing else may run; the others mostly wait, and three do so at a time. The last part judges all evidence.
LEDGER := $(VENV)/.live-ledger
LIVE   := $(BIN)/pytest -v --durations=0 --durations-min=1 tests/live

live: $(VENV)/.installed-test debian
	@rm -f $(LEDGER); export AT110_LIVE_LEDGER=$(LEDGER); status=0; \
	$(call timed,live tests beside each other,$(LIVE) -n 3 --dist loadfile -m beside || status=$$?); \
	$(call timed,live tests one after the other,$(LIVE) -m "not beside" || status=$$?); exit $$status

# Instrumented builds lie in folders of their own; the interpreter is told of the sanitizer's library first.
test-sanitize: $(VENV)/.installed-test debian
	@$(call timed,native engine under ASan,$(BIN)/python -m tests.kit.sanitize address)
	@$(call timed,native engine under TSan,$(BIN)/python -m tests.kit.sanitize thread)

# aiosipua is what the parser is compared with; without it that row is not measured.
bench: $(VENV)/.installed-test
	@$(BIN)/python -c 'import aiosipua' 2>/dev/null || $(PIP) install --quiet --editable '.[bench]' || echo "at110: aiosipua can't be installed; the parser is compared with nothing / 无法安装 aiosipua"
	@$(BIN)/python -m tests.bench.run

# What a test run does a part of, as often as the bars ask for; BARS="F27 F30b" runs some rows of it (tests/bars/run.py).
bars: $(VENV)/.installed-test debian native
	@$(call timed,bars,$(BIN)/python -m tests.bars.run $(BARS))

soak: $(VENV)/.installed-test debian native
	@$(call timed,soak,$(BIN)/python -m tests.soak.run --minutes $(or $(SOAK_MINUTES),5))

# atheris has wheels for few interpreters; without it the same targets run under seeded mutation, and say so.
fuzz: $(VENV)/.installed-test
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --quiet --only-binary :all: atheris || echo "at110: atheris can't be installed here; fuzzing without it / 无法安装 atheris，改用种子变异"
	@$(call timed,fuzzing,$(BIN)/python -m tests.fuzz.run $(or $(FUZZ_SECONDS),60))

clean:
	rm -rf $(VENV) build dist *.egg-info bench.json .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
