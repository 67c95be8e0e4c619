# One command each: `make run` serves func.yaml, `make test` checks everything. Nothing outside this folder is changed.
PYTHON ?= python3
ARGS ?=
RUNTIMES ?=

.DEFAULT_GOAL := help
.PHONY: help run test e2e test-parts test-runtimes parts check docs fuzz bench soak soak-batcher train clean constraints
.DELETE_ON_ERROR:

help:
	@echo 'make run    serve func.yaml on http://127.0.0.1:8080 (ARGS="--port 9000 --quiet")'
	@echo 'make test   ruff, mypy, the layers and all tests (ARGS="-k batcher -x" goes to pytest)'
	@echo 'make test-parts  the tests that need programs which take minutes to build'
	@echo 'make test-runtimes  the tests of every runtime, each in an environment of its own (RUNTIMES="xgboost torch")'
	@echo 'make e2e    the tests that need a cluster with Knative and Istio; it says which variables name one'
	@echo 'make check  only ruff, mypy and the layers'
	@echo 'make docs   the documentation as a site, in build/docs'
	@echo 'make fuzz   a million wrong inputs for every decoder (ARGS="--seed 2 --target v1")'
	@echo 'make bench  measure kfunc against other servers on this machine (ARGS="--help")'
	@echo 'make soak   the logger through an outage of ten minutes and 20 SIGKILLs (ARGS="--outage 120")'
	@echo 'make soak-batcher  a million mixed requests through the batcher, with faults and cancellations (ARGS="--count 10000")'
	@echo 'make train  train the models of examples/ again'
	@echo 'make clean  remove the environments and caches that these commands made'
	@echo 'make constraints  pin the newest versions of everything (see constraints/)'

comma := ,

# An environment is ready when it holds a file named by the checksum of all that went into it.
key = $(firstword $(shell { echo "$(CURDIR)"; "$(PYTHON)" -V; cat pyproject.toml constraints/build.txt constraints/$(1).txt; } 2>&1 | cksum))
RUNTIME := .venv/ready-$(call key,runtime)
TESTING := .venv-test/ready-$(call key,test)
TRAINING := .venv-train/ready-$(call key,examples)
BENCHING := .venv-bench/ready-$(call key,bench)

# Environments without kfunc, for what cannot stand beside it: constraints/NAME.txt is all that goes into .venv-NAME.
foreign = .venv-$(1)/ready-$(firstword $(shell { echo "$(CURDIR)"; "$(PYTHON)" -V; cat constraints/$(1).txt; } 2>&1 | cksum))
CLIENTS := $(call foreign,conformance)
SITE := $(call foreign,docs)
PEERS := $(call foreign,bench-kserve) $(call foreign,bench-mlserver)
# make bench needs the peers only if it measures them: they are named, or nothing is.
MEASURED := $(filter --help throughput batcher peers images h2 grpc hops tracing startup cold memory imports paths micro,$(ARGS))
NEEDED_PEERS := $(if $(MEASURED),$(if $(filter peers images grpc,$(MEASURED)),$(PEERS),$(if $(filter batcher,$(MEASURED)),$(call foreign,bench-mlserver))),$(PEERS))

# $(call environment,CONSTRAINTS,EXTRAS); the constraints of the build backend reach pip's isolated build by variables,
# the first read by pip up to 25.2, the second by later ones.
define environment
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo 'kfunc needs Python 3.11 or newer, and $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 2; }
@echo 'setting up $(@D) (once; a minute or so)'
@"$(PYTHON)" -m venv --clear $(@D) || { \
	echo '$(PYTHON) cannot make virtual environments (on Debian: apt-get install python3-venv)' >&2; exit 2; }
@PIP_CONSTRAINT=constraints/build.txt PIP_BUILD_CONSTRAINT=constraints/build.txt \
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/$(1).txt -e '.[$(2)]'
@$(@D)/bin/python -m compileall -q kfunc
@touch $@
endef

$(RUNTIME):
	$(call environment,runtime,onnx$(comma)grpc$(comma)page)

$(TESTING):
	$(call environment,test,test)

$(TRAINING):
	$(call environment,examples,train)

$(BENCHING):
	$(call environment,bench,bench)

$(CLIENTS) $(SITE) $(PEERS):
	@echo 'setting up $(@D) (once; a minute or so)'
	@"$(PYTHON)" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $(@D:.venv-%=constraints/%.txt)
	@touch $@

run: $(RUNTIME)
	@.venv/bin/python -m compileall -q kfunc
	@exec .venv/bin/kfunc run $(ARGS)

check: $(TESTING)
	@status=0; \
	echo 'ruff check';  .venv-test/bin/ruff check --quiet --output-format concise || status=1; \
	echo 'ruff format'; .venv-test/bin/ruff format --check --quiet || status=1; \
	echo 'mypy';        .venv-test/bin/mypy --no-error-summary || status=1; \
	echo 'layers';      .venv-test/bin/python -m pytest --quiet --no-summary tests/test_layers.py || status=1; \
	exit $$status

# The real programs that tests talk to, from Debian's packages and Go's modules, into .cache/parts (tests/parts).
parts: $(TESTING)
	@.venv-test/bin/python -m tests.parts

# pytest's last lines name each skipped test and its reason. With ARGS only the tests that they choose are wanted.
test: check parts $(CLIENTS)
	@status=0; $(if $(ARGS),,"$(PYTHON)" -m tests.runtimes --light || status=1;) \
	.venv-test/bin/python -m pytest $(ARGS) || status=1; exit $$status

test-runtimes:
	@"$(PYTHON)" -m tests.runtimes $(RUNTIMES) -- $(ARGS)

test-parts: check $(CLIENTS)
	@.venv-test/bin/python -m tests.parts --heavy
	@.venv-test/bin/python -m pytest -m heavy $(ARGS)

# On the cluster of KUBECONFIG; -s shows the figures as they come, and they stand at the end again.
e2e: $(TESTING)
	@.venv-test/bin/python -m tests.e2e && .venv-test/bin/python -m tests.parts trivial-pod && .venv-test/bin/python -m pytest tests/e2e -m e2e -s $(ARGS)

fuzz: $(TESTING)
	@.venv-test/bin/python -m tests.fuzz --count 1000000 $(ARGS)

# The reference is made from the code, the site by mkdocs; a warning of either fails.
docs: $(RUNTIME) $(SITE)
	@.venv/bin/python -m docs.site.build build
	@.venv-docs/bin/mkdocs build --quiet --strict --config-file build/mkdocs.yml
	@echo 'build/docs; to read and search it: python3 -m http.server -d build/docs, then http://localhost:8000'

soak-batcher: $(TESTING)
	@.venv-test/bin/python -m tests.batcher_sidecar.soak $(ARGS)

train: $(TRAINING)
	@for script in examples/*/train.py; do echo "$$script"; .venv-train/bin/python "$$script" || exit 1; done

bench: $(BENCHING) $(RUNTIME) $(NEEDED_PEERS) .cache/bin/wrk .cache/bin/h2load
	@.venv-bench/bin/python -m compileall -q kfunc bench
	@PATH="$(CURDIR)/.cache/bin:$$PATH" .venv-bench/bin/python -m bench $(ARGS)

soak: $(BENCHING)
	@.venv-bench/bin/python -m compileall -q kfunc bench
	@.venv-bench/bin/python -m bench.soak $(ARGS)

# The load generators: the machine's own, or those of tests/parts behind a line of shell that names their libraries.
.cache/bin/wrk: part = wrk
.cache/bin/h2load: part = nghttp2
.cache/bin/wrk .cache/bin/h2load:
	@mkdir -p .cache/bin
	@if path=$$(command -v $(@F)); then ln -sf "$$path" $@; exit; fi; \
	CI=true "$(PYTHON)" -m tests.parts $(part) || { echo 'make bench needs the load generator $(@F)' >&2; exit 2; }; \
	printf '#!/bin/sh\nhere=$$(dirname "$$0")/../parts/$(part)\nLD_LIBRARY_PATH=$$(echo "$$here"/usr/lib/*-linux-gnu) exec "$$here/usr/bin/$(@F)" "$$@"\n' >$@ && chmod +x $@

# Exact versions of everything, from fresh installs: test.txt decides, the others are parts of it.
constraints:
	@for set in test:test runtime:onnx,grpc,page examples:train bench:bench; do \
		name=$${set%%:*}; extra=$${set##*:}; pins=''; [ $$name = test ] || pins='-c constraints/test.txt'; \
		echo "constraints/$$name.txt"; "$(PYTHON)" -m venv --clear .cache/pins && \
		.cache/pins/bin/python -m pip install --quiet --disable-pip-version-check $$pins -e ".[$$extra]" && \
		.cache/pins/bin/python -m pip freeze --exclude kfunc --exclude pip --exclude setuptools >constraints/$$name.txt || exit 1; \
	done
	@for name in conformance docs bench-kserve bench-mlserver; do \
		echo "constraints/$$name.txt"; "$(PYTHON)" -m venv --clear .cache/pins && \
		.cache/pins/bin/python -m pip install --quiet --disable-pip-version-check -r constraints/$$name.in && \
		.cache/pins/bin/python -m pip freeze --exclude pip --exclude setuptools >constraints/$$name.txt || exit 1; \
	done
	@"$(PYTHON)" -m tests.runtimes --pin $(RUNTIMES)
	@echo constraints/build.txt; "$(PYTHON)" -m venv --clear .cache/pins && \
	.cache/pins/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/test.txt hatchling==1.33.0 editables && \
	.cache/pins/bin/python -m pip freeze --exclude pip --exclude setuptools >constraints/build.txt; rm -rf .cache/pins

clean:
	@rm -rf .venv .venv-test .venv-train .venv-bench .venv-bench-kserve .venv-bench-mlserver .venv-conformance .venv-docs build .venv-runtimes .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .kfunc
	@find kfunc tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
