# Thematica: everything a checkout can do.  `make` lists it.  `make demo` and `make test` set up what they
# need on a fresh Debian or Ubuntu: system packages (apt, only those missing), .venv, Python packages.

PYTHON ?= python3
# QGIS's own Python: the system's, never the runtime's.
QGIS_PYTHON ?= /usr/bin/python3

VENV := .venv
BIN := $(VENV)/bin
# Stamps: files by which make knows that a step is done.  Those of .venv lie in it and go with it.
RUNTIME := $(VENV)/.runtime-is-ready
TORCH := $(VENV)/.torch-is-ready
TRAINING := $(VENV)/.training-is-ready
HOROVOD := $(VENV)/.horovod-is-ready
DEV := $(VENV)/.dev-is-ready
SYSTEM := build/stamps
PACKAGE_LINK := build/pkg/thematica

# PIP_… settings of the machine (index, proxy, certificates) stay in force; only errors are shown.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# Python, GDAL and PROJ settings of the caller must not decide what the tests see.
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME -u PROJ_LIB -u PROJ_DATA -u GDAL_DATA -u GDAL_DRIVER_PATH
# Tests of the plugin have a QGIS profile of their own: nothing of the user's is read or changed.  QGIS looks
# its Python up in PATH, and an environment that is active in the shell (venv, conda, pyenv) would come first.
QGIS_ENV := $(CLEAN_ENV) PATH="$(dir $(QGIS_PYTHON)):$$PATH" QT_QPA_PLATFORM=offscreen QGIS_CUSTOM_CONFIG_PATH="$(CURDIR)/build/qgis-profile" \
	XDG_CONFIG_HOME="$(CURDIR)/build/qgis-config" PYTHONDONTWRITEBYTECODE=1

# Recipes share .venv and build/; two at once would only be in each other's way.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint style types walls check fuzz units qgis-tests bench screenshots train-bundled train-eurosat package install runtime torch training horovod dev clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '  make %-14s %s\n' "$$name" "$$what"; done

# ------------------------------------------------------------------------------------------------ set-up
runtime: $(RUNTIME) ## create .venv, the runtime, as a user would have it

training: $(TRAINING) ## what the trainer needs on top of PyTorch: ONNX export of classical models, TensorBoard, Parquet

horovod: $(HOROVOD) ## Horovod, for training with several processes

dev: $(DEV) ## the runtime and the tools of `make test` and `make lint`

torch: $(TORCH) ## PyTorch for the second back end and for training (TORCH_INDEX=URL chooses its build)

$(SYSTEM)/%: tools/system_packages.sh
	@mkdir -p $(@D)
	@tools/system_packages.sh $(PYTHON) $*
	@touch $@

$(RUNTIME): requirements.txt pyproject.toml | $(SYSTEM)/runtime
	@echo "Creating the runtime in $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) --editable .
	@touch $@

# An index of wheels for the build of PyTorch: https://download.pytorch.org/whl/cpu, …/cu130.
TORCH_INDEX ?=
$(TORCH): requirements-torch.txt $(RUNTIME)
	@echo "Installing PyTorch in $(VENV) …"
	@$(PIP) $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") --requirement requirements-torch.txt
	@touch $@

$(TRAINING): requirements-training.txt $(TORCH)
	@echo "Installing what training needs in $(VENV) …"
	@$(PIP) --requirement requirements-training.txt
	@touch $@

# Built from source against the torch that is there: two to three minutes, once.
$(HOROVOD): $(TORCH) | $(SYSTEM)/horovod
	@echo "Building Horovod for $(VENV) …"
	@$(BIN)/python plugin/runtime horovod --python $(BIN)/python > build/horovod.txt 2>&1 || { cat build/horovod.txt; exit 1; }
	@touch $@

$(DEV): requirements-dev.txt $(TRAINING)
	@echo "Installing the development tools in $(VENV) …"
	@$(PIP) --requirement requirements-dev.txt
	@touch $@

# The repository root is the package; under this link it has its name, whatever the clone is called.
$(PACKAGE_LINK):
	@mkdir -p $(@D)
	@ln -sfn ../.. $@

# -------------------------------------------------------------------------------------------------- demo
# A scene of yours: make demo SCENE=file [MODEL=name] [SCALE=0.0001] [OFFSET=-0.1] [SENSOR=sentinel2-l2a]
DEMO_OPTIONS = $(if $(SCENE),--scene "$(SCENE)") $(if $(MODEL),--model "$(MODEL)") $(if $(SCALE),--scale=$(SCALE)) \
	$(if $(OFFSET),--offset=$(OFFSET)) $(if $(SENSOR),--sensor "$(SENSOR)")
demo: $(RUNTIME) $(SYSTEM)/qgis ## classify a made scene (or SCENE=file) through qgis_process, and draw the map
	@$(CLEAN_ENV) $(BIN)/python demo/run.py --qgis-python "$(QGIS_PYTHON)" $(DEMO_OPTIONS)

# ------------------------------------------------------------------------------------------------- tests
# All of them run even if one fails (-k), and the tests come last: their summary ends the output.
test: $(DEV) $(HOROVOD) $(SYSTEM)/qgis $(SYSTEM)/window $(SYSTEM)/qgis-tests $(SYSTEM)/qt6 $(PACKAGE_LINK) ## lint, then all tests: without QGIS, then in QGIS
	@$(MAKE) --no-print-directory --keep-going style types walls units qgis-tests

lint: style types walls ## ruff, mypy and the import walls

style: $(DEV)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo "Style is in order (ruff)."

types: $(DEV) $(PACKAGE_LINK)
	@cd build/pkg && ../../$(BIN)/mypy --config-file thematica/pyproject.toml --no-error-summary
	@echo "Types are in order (mypy)."

# Without its cache: that misses an import of a module that came after the importing file was read.
walls: $(DEV) $(PACKAGE_LINK)
	@cd build/pkg && ../../$(BIN)/lint-imports --no-cache --config thematica/pyproject.toml > walls.txt || { cat walls.txt; exit 1; }
	@echo "Import walls stand (import-linter)."

# pytest's options and markers are in pyproject.toml.  Root and conftest limit are given, because the
# package's own __init__.py in the root would lead pytest above the repository.
PYTEST := -m pytest -c thematica/pyproject.toml --rootdir . --confcutdir . -p no:cacheprovider

units: $(DEV) $(PACKAGE_LINK)
	@cd build/pkg && $(CLEAN_ENV) ../../$(BIN)/python $(PYTEST) -q --ignore thematica/tests/qgis thematica/tests

qgis-tests: $(RUNTIME) $(SYSTEM)/qgis $(SYSTEM)/qgis-tests $(PACKAGE_LINK)
	@cd build/pkg && $(QGIS_ENV) $(QGIS_PYTHON) $(PYTEST) -q thematica/tests/qgis

# Each fuzzer of tests/fuzz gets its share of the minutes, and other examples every time.
MINUTES ?= 10
FUZZERS = $(shell cat tests/fuzz/test_*.py | grep -cE '^ {4}fuzz\b')
fuzz: $(DEV) $(PACKAGE_LINK) ## spoiled rasters, networks, cards and jobs for a while: make fuzz MINUTES=10
	@cd build/pkg && $(CLEAN_ENV) THEMATICA_FUZZ_SECONDS=$$(($(MINUTES) * 60 / $(FUZZERS))) \
		../../$(BIN)/python $(PYTEST) -q thematica/tests/fuzz

T ?= tests
check: $(DEV) $(PACKAGE_LINK) ## some tests: make check T="tests/engine -k halo" (tests/qgis runs in QGIS's Python)
	@cd build/pkg && case "$(T)" in \
		tests/qgis*) $(QGIS_ENV) $(QGIS_PYTHON) $(PYTEST) thematica/$(T) ;; \
		*) $(CLEAN_ENV) ../../$(BIN)/python $(PYTEST) --ignore thematica/tests/qgis thematica/$(T) ;; \
	esac

# ONLY=live,dataset measures some sections; the others stay as they are.
bench: $(RUNTIME) $(PACKAGE_LINK) ## speed and memory: writes build/bench.json and docs/benchmarks.md
	@$(CLEAN_ENV) QGIS_PYTHON="$(QGIS_PYTHON)" $(BIN)/python tools/bench.py $(if $(ONLY),--only "$(ONLY)")

# ONLY=classify or ONLY=labels takes some of them.
screenshots: $(RUNTIME) $(SYSTEM)/qgis $(SYSTEM)/window ## take the screenshots of the documentation anew, in the real QGIS window
	@$(CLEAN_ENV) $(BIN)/python docs/screenshots.py $(ONLY)

# ------------------------------------------------------------------------------------- models that ship
train-bundled: $(DEV) ## train the basic cover models that ship anew
	@$(CLEAN_ENV) $(BIN)/python -m thematica.trainer.train_basic_cover

# Stopped, it goes on where it was.
EUROSAT := build/eurosat
BUNDLED := models/bundled
train-eurosat: $(DEV) ## train the EuroSAT model that ships anew: make train-eurosat DATA=eurosat_rgb.zip
	@test -n "$(DATA)" || { echo "Say where EuroSAT's RGB images are: make train-eurosat DATA=eurosat_rgb.zip"; exit 2; }
	@mkdir -p "$(EUROSAT)"
	$(CLEAN_ENV) $(BIN)/thematica build-dataset "$(EUROSAT)/set" --folder "$(DATA)" --layout eurosat
	$(CLEAN_ENV) $(BIN)/thematica train "$(EUROSAT)/set" --network small-resnet --name eurosat-rgb \
		--card "$(BUNDLED)/eurosat-rgb.json" --output "$(EUROSAT)/run" --resume
	cp "$(EUROSAT)/run/model.onnx" "$(BUNDLED)/eurosat-rgb.onnx"
	cp "$(EUROSAT)/run/model.json" "$(BUNDLED)/eurosat-rgb.json"
	$(CLEAN_ENV) $(BIN)/thematica evaluate "$(BUNDLED)/eurosat-rgb.onnx" "$(EUROSAT)/set" --json "$(EUROSAT)/evaluation.json"
	@$(BIN)/python tools/accuracy_tables.py "$(EUROSAT)/evaluation.json"

# -------------------------------------------------------------------------------------- package, install
package: $(SYSTEM)/runtime ## build/thematica.zip, for "Install from ZIP" and the QGIS plugin repository
	@$(PYTHON) tools/package.py build/thematica.zip

PROFILE ?= default
install: $(RUNTIME) ## link this checkout into the QGIS profile (PROFILE=name; COPY=1 copies instead)
	@$(PYTHON) tools/install.py --profile "$(PROFILE)" $(if $(COPY),--copy)

clean: ## remove all that make made: build/, .venv and caches
	@rm -rf build $(VENV) thematica.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
