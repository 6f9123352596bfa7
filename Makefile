# The verbs of the project. On a fresh machine with Python 3.11 and make, `make search` is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifneq ($(wildcard ../shared/data),)
export EMNAS_DATA ?= $(abspath ../shared/data)
endif

# What `make search` searches; any of them can be given: make search TASK=photos DEVICE=stm32f746zg
ENV ?= EmNAS-v0
AGENT ?=
EVALUATIONS ?=
TASK ?=
DEVICE ?=
SEED ?= 0
VERIFY ?= 5
OUT ?= $(if $(TASK),runs/$(notdir $(patsubst %/,%,$(TASK))),runs/first)

.PHONY: search test check test-all bench firmware format lint types install clean

search: $(STAMP)  ## search, verify the winners by real training, export the best, write the report
	$(BIN)/python -m benchmarks search --env $(ENV) --seed $(SEED) --verify $(VERIFY) --out $(OUT) \
	  $(if $(AGENT),--agent $(AGENT)) $(if $(EVALUATIONS),--evaluations $(EVALUATIONS)) \
	  $(if $(TASK),--task $(TASK)) $(if $(DEVICE),--device $(DEVICE))

test: $(STAMP)  ## the tests, under ten minutes on two cores
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(STAMP)  ## the slow tests as well; as root it installs what the emulated Linux board needs
	.ci/packages qemu-aarch64=qemu-user
	$(BIN)/python -m pytest -n 2

check: $(STAMP) lint types test  ## all that a change must pass

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What is finished leaves a mark, so that the same command goes on after an interruption; the last
# step takes the marks away. Long steps also go on from what they stored in runs/: remove that to
# measure all of it anew. A page is replaced when it is whole. What needs EMNAS_DATA comes last.
MARKS := runs/figures
FIGURES := predictors estimators cards first headroom agreement agents throughput cost \
  training-proxies audit lenna lenna-predictors sweep transfer bench-8 ablation seed-task \
  sweep-images nb201

.NOTPARALLEL: # timings would disturb each other

bench: $(FIGURES:%=$(MARKS)/%)  ## every number of README and docs, resumable
	rm -r $(MARKS)

$(MARKS)/%: | $(STAMP)
	@mkdir -p $(MARKS)
	$(MAKE) --no-print-directory figure-$*
	@touch $@

.PHONY: $(FIGURES:%=figure-%)
SWEEP := --weights 0,0.003,0.01,0.03,0.1,0.3 --seeds 5 --option epochs=25 --publish docs
PUT = > $(MARKS)/part.json && mv $(MARKS)/part.json

figure-predictors:
	$(BIN)/python -m predictors evaluate --json $(PUT) docs/predictors.json
figure-estimators:
	$(BIN)/python -m predictors report --out docs
figure-cards:
	$(BIN)/python -m predictors table emnas_gym/tables/emnas-bench-8_digits.npz --card docs/bench.md
	$(BIN)/python -m predictors table predictors/tables/emnas-382_digits.npz --card docs/table-emnas-382.md
	$(BIN)/python -m predictors table predictors/tables/emnas-mobile-49_digits.npz --card docs/table-emnas-mobile-49.md
figure-first:
	$(BIN)/python -m benchmarks run first --json $(PUT) docs/first.json
	$(BIN)/python -m benchmarks report runs/bench/first --markdown docs/first.md
figure-headroom:
	$(BIN)/python -m benchmarks headroom --json $(PUT) docs/headroom.json
figure-agreement:
	$(BIN)/python -m benchmarks agreement --json $(PUT) docs/proxies.json
figure-agents:
	$(BIN)/python -m benchmarks portraits
figure-throughput:
	$(BIN)/python -m benchmarks throughput --json $(PUT) docs/throughput.json
figure-cost:
	$(BIN)/python -m benchmarks cost --publish docs
figure-training-proxies:
	$(BIN)/python -m predictors proxies --networks 40
figure-audit:
	$(BIN)/python -m predictors audit --seeds 10 --train 3 --out docs
figure-lenna:
	$(BIN)/python -m benchmarks lenna study --publish docs
figure-lenna-predictors:
	$(BIN)/python -m benchmarks lenna fit --data serial,fused,groups,litert,npu,torch --publish docs
figure-sweep:
	$(BIN)/python -m benchmarks sweep --target ethos-u55-128 $(SWEEP)
	$(BIN)/python -m benchmarks sweep --target cortex-m4 $(SWEEP)
figure-sweep-images:  # needs EMNAS_DATA
	@mkdir -p runs/tables
	cp -f "$(EMNAS_DATA)/images/cifar10_mini.npz" runs/tables/
	$(BIN)/python -m benchmarks sweep --target ethos-u55-128 --space mobile-stages --task runs/tables/cifar10_mini.npz --weights 0,0.003,0.01,0.03,0.1,0.3,1 --seeds 5 --trainings 1 --option epochs=12 --option image_divisor=2 --publish docs
figure-transfer:  # needs EMNAS_DATA
	$(BIN)/python -m predictors transfer --out docs
figure-bench-8:
	$(BIN)/python -m benchmarks run bench-8
	$(BIN)/python -m benchmarks report runs/bench/bench-8 --markdown docs/bench-8.md
figure-ablation:
	$(BIN)/python -m benchmarks run ablation
	$(BIN)/python -m benchmarks report runs/bench/ablation --markdown docs/ablation.md
figure-seed-task:
	$(BIN)/python -m benchmarks run seed-task
	$(BIN)/python -m benchmarks report runs/bench/seed-task --markdown docs/seed-task.md
figure-nb201:  # needs EMNAS_DATA, and hours
	$(BIN)/python -m benchmarks run nb201 --publish docs --fresh

firmware: $(STAMP)  ## the committed firmware of the emulated boards, built again (gcc-arm-none-eabi)
	$(BIN)/python -m hardware firmware

install: $(STAMP)

# CPU torch comes first and alone: the pinned build keeps pip from fetching another one with it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11))" \
	  || { echo "EmNAS Gym needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	-$(BIN)/python -m pip install -q -c constraints.txt --pre tflite-micro
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
