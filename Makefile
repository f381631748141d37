# Primum: everything a person or CI types. `make demo` and `make test` set up what they need.
# Needs Python 3.11+, make and a package index; asks for no root, changes nothing outside this folder.

# Another Python or broker than the one found: make PRIMUM_PYTHON=... PRIMUM_MOSQUITTO=...
# What a caller set for another Python has no business here.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

SETUP := sh packaging/bootstrap/python.sh packaging/bootstrap
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help environment broker softhsm tpm rauc postgresql demo test coverage lint check fix pins clean
.PHONY: package package-tree references
.PHONY: campaign-fuzz campaign-mutation campaign-compromise campaign-crash
.PHONY: soak campaign-soak
.PHONY: campaign campaign-power campaign-life campaign-models campaign-operators

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28

environment: ## the environment: pinned third parties and the four parts, in .venv
	@$(SETUP)/environment.py

broker: ## a mosquitto for demo and tests: the installed one, else unpacked into .cache
	@$(SETUP)/broker.py

softhsm: ## a token in software for the tests: the installed SoftHSM, else unpacked into .cache
	@$(SETUP)/softhsm.py

tpm: ## a TPM 2 in software for the tests: the installed swtpm, else unpacked into .cache
	@$(SETUP)/tpm.py

rauc: ## an updater of operating systems for the tests: the installed RAUC, else unpacked into .cache
	@$(SETUP)/rauc.py

postgresql: ## a database server for the tests: the installed PostgreSQL, else unpacked into .cache
	@$(SETUP)/postgresql.py

demo: environment broker ## one device, one ECG model, the whole promise; two minutes
	@$(BIN)/primum-sim demo

# Three workers on two cores: while a test waits for a timer or the disk, another one computes.
test: environment broker softhsm tpm rauc postgresql ## all tests; PRIMUM_DATA=FOLDER adds those on full recordings
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(if $(LEAVE_OUT),--ignore $(LEAVE_OUT))

references: environment ## each statistic beside papers, scipy, statsmodels and scikit-learn, which it installs
	@$(SETUP)/environment.py --with references
	@$(BIN)/python -m tests.benchmarks.references

coverage: environment ## every branch of what judges, run by the verifier's own tests
	@mkdir -p .cache
	@$(BIN)/pytest -q -n 2 --dist loadfile --cov --cov-report= tests/unit/verifier
	@$(BIN)/coverage report

package: environment ## Debian packages of agent and bench in dist/; REVISION=1 makes 0.1.0+1
	@$(BIN)/python -I packaging/debian/build_packages.py $(if $(REVISION),--revision $(REVISION))

package-tree: environment ## the agent as a tree for a set, in dist/; REVISION=1 as above
	@$(BIN)/python -I packaging/debian/build_packages.py --tree $(if $(REVISION),--revision $(REVISION))

campaign-fuzz: ## searches every parser for faults; SECONDS=120 each, TARGET=one, AGAIN=1
	@$(SETUP)/environment.py --with fuzz
	@$(BIN)/python tests/fuzz/fuzz_campaign.py $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(TARGET),--target $(TARGET)) $(if $(AGAIN),--again)

campaign-mutation: ## changes what decides; each change must be seen; TARGET=module, AGAIN=1
	@$(SETUP)/environment.py --with mutation
	@$(BIN)/python tests/mutation/mutation_campaign.py \
	    $(if $(TARGET),--target $(TARGET)) $(if $(AGAIN),--again)

campaign-compromise: environment ## what each stolen key, pair and authority reaches; its page
	@$(BIN)/python -m tests.scenarios.compromise.campaign

campaign-crash: environment ## cuts a device at each call that changes a file; SECONDS, SEED, TARGET, AGAIN=1
	@$(BIN)/python -m tests.campaigns.crash_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target $(TARGET)) $(if $(AGAIN),--again) \
	    $(if $(WORKERS),--workers $(WORKERS)) $(if $(POINT),--point $(POINT))

campaign-power: environment ## lets the power fail after each write below a real ext4; MEDIUM=ext4|tree, as above
	@$(BIN)/python -m tests.campaigns.power_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target $(TARGET)) $(if $(AGAIN),--again) \
	    $(if $(WORKERS),--workers $(WORKERS)) $(if $(MEDIUM),--medium $(MEDIUM)) \
	    $(if $(POINT),--point $(POINT))

campaign-life: environment ## plays lives of a device against the state table; SECONDS, SEED, AGAIN=1
	@$(BIN)/python -m tests.campaigns.life_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(AGAIN),--again)

campaign-models: environment ## mutants of a real model against its self-test; SECONDS, SEED, TARGET=byte|graph, AGAIN=1
	@$(BIN)/python -m tests.campaigns.model_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target $(TARGET)) $(if $(AGAIN),--again) \
	    $(if $(MUTANT),--mutant $(MUTANT))

campaign-operators: environment ## the operator tests of the package onnx as self-tests; their page; SECONDS, AGAIN=1
	@$(BIN)/python -m tests.campaigns.operator_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(AGAIN),--again) $(if $(CASE),--case $(CASE))

soak: environment broker ## devices report while everything fails at random; SECONDS=1200, SEED, DEVICES, DATABASE=postgresql
	@$(BIN)/python -m tests.campaigns.soak_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(DEVICES),--devices $(DEVICES)) \
	    $(if $(DATABASE),--database $(DATABASE))

campaign-soak: soak ## the same, by the name of its kind

campaign: environment ## all of them one after another within SECONDS=3600; ends in one table
	@$(BIN)/python -m tests.campaigns.every_campaign $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED))

lint: environment ## style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/mypy packaging tests
	@$(BIN)/lint-imports

check: environment ## what is declared is used, a device gets no more, no place is named
	@status=0; for part in verifier agent repo_tools device_sim; do \
	    echo "deptry: $$part"; (cd $$part && ../$(BIN)/deptry --no-ansi src) || status=1; \
	done; exit $$status
	@$(BIN)/python -I packaging/checks/device_install.py
	@$(BIN)/python -I packaging/checks/speaks_of_itself.py

fix: environment ## what lint can put right by itself
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

pins: environment ## pinned versions after a dependency changed; UPGRADE=1 takes the newest
	@$(BIN)/python -I packaging/bootstrap/pins.py $(if $(UPGRADE),--upgrade)

clean: ## take away everything that make made
	@rm -rf .venv .cache .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
