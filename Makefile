# Each target installs what it needs on a fresh Debian or Ubuntu machine.
#
#   make batch                                    the sample county (synthetic)
#   make batch COUNTY=shelby PROPERTIES=leads.csv
#   make review                                   the review panel
#   make check                                    format, lint, types, import rules, unit tests
#   make test                                     every check, from a fresh clone

PYTHON ?= python3
VENV   := .venv

# Settings reach the command through its environment, exactly as typed: neither make nor a shell
# expands any part of them.
SETTINGS := COUNTY REGISTRY PROPERTIES LABELS LABEL SEGMENTER SAM3_WEIGHTS LANDCOVER_WEIGHTS ENGINE LIMIT BBOX AGAIN STALE RETRY_FAILED ALL_LOTS YES WHEN_UNAVAILABLE OUT
# Variables that are passed on too, with the tokens that a registry names; and make's own.
OTHERS := DATABASE_URL LOTLINE_HOME LOTLINE_CONFIG RAY_ADDRESS RAY_GPUS_PER_WORKER LOG_LEVEL LOG_FORMAT \
          PYTHON VENV SHELL %_TOKEN %_KEY
# A misspelt setting must be an error: ignored, it would process another county, or all of one.
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(if $(filter batch,$(MAKECMDGOALS)),$(filter-out $(SETTINGS) $(OTHERS),$(TYPED)))
$(if $(UNKNOWN),$(error unknown setting $(UNKNOWN); the settings are $(SETTINGS). Put variables of other programs before make: NAME=... make batch))
$(foreach name,$(SETTINGS) PYTHON VENV $(TYPED),$(eval override $(name) := $$(value $(name))))
export $(SETTINGS) PYTHON $(TYPED)

# Rules and recipes have VENV, where make and the shell would expand it: what is left without these?
HARMLESS := a b c d e f g h i j k l m n o p q r s t u v w x y z \
            A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 . _ + / -
HARMFUL := $(VENV)
$(foreach mark,$(HARMLESS),$(eval HARMFUL := $$(subst $(mark),,$$(HARMFUL))))
$(if $(HARMFUL)$(filter -%,$(VENV)),$(error VENV may have letters, digits and . _ + / - only, and no dash in front))
READY := $(VENV)/.ready

.PHONY: batch review check test test-long fuzz figures coverage bench docs lock install clean help

help:
	@sed -n 's/^# \{0,1\}//;2,7p' Makefile

batch: install
	@$(VENV)/bin/lotline batch

# The review panel, in a browser: PORT=, REGISTRY=.
review: install
	@sh scripts/build_page.sh
	@exec $(VENV)/bin/lotline review --port "$${PORT:-8787}"

# WORKERS= sets the number of parallel test processes.
check: $(READY)
	@PATH="$$PWD/$(VENV)/bin:$$PATH" sh scripts/check.sh

test: install
	@sh scripts/install_node.sh
	@sh scripts/install_pgbouncer.sh
	@sh scripts/install_chromium.sh
	@sh scripts/build_page.sh || [ $$? = 2 ]
	@PATH="$$PWD/$(VENV)/bin:$$PATH" sh scripts/test.sh

# The long tests store their figures in pytest's cache; `make figures` writes them to the docs.
LONG := .pytest_cache/long.xml

test-long: install
	@$(VENV)/bin/python -m pytest -m long --junitxml=$(LONG)

# Fuzz the readers of untrusted input: docs/security.md. MINUTES= for each reader, TARGET=, SEED=.
fuzz: install
	@cd tests && ../$(VENV)/bin/python -m fuzz.session --minutes "$${MINUTES:-1}" \
	    --seed "$${SEED:-1}" $${TARGET:+--target "$$TARGET"}

figures: install
	@$(VENV)/bin/python scripts/keep_figures.py $(LONG)

# Runs the tests serially; takes 50 % longer than without coverage.
coverage: install
	@$(VENV)/bin/python -m pytest -m "not long" --cov --cov-report=term

bench: install
	@$(VENV)/bin/python -m benchmarks

install: $(READY)
	@sh scripts/install_postgis.sh

# requirements.lock pins every package, so that all machines have the same versions.
$(READY): requirements.lock $(wildcard deploy/runpod.lock) pyproject.toml scripts/install_venv.sh
	@sh scripts/install_venv.sh $(VENV)
	@touch $@

# Build the documentation site in out/site.
docs: install
	@PATH="$$PWD/$(VENV)/bin:$$PATH" sh scripts/docs.sh

lock:
	@sh scripts/lock.sh $(VENV)

clean:
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
