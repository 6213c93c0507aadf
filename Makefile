# All tasks of this repository; `make` alone lists them.
#
# Go and make are enough, except to rebuild WebAssembly from its text (kernel, capsules,
# check): that needs wat2wasm, from the Debian package wabt. Its output and all
# generated files are committed.

.DEFAULT_GOAL := help

# Every directory that is a Go module.
MODULES := $(sort $(patsubst %/,%,$(dir $(shell find . -name go.mod -not -path '*/.*/*' -not -path '*/testdata/*'))))
# Directories with WebAssembly text. The modules in test/guests have other compilers.
WAT     := capsulehost cmd supervisor $(filter-out test/guests,$(wildcard test/*))
KERNEL  := capsulehost/internal/kernel
# The platforms for which check builds the command.
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

GEN      := go run ./test/capsules/gen
PROTOBUF := go -C tools run ./protobuf
LINT     := go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint
# Static, and identical with or without a C compiler.
BUILD    := CGO_ENABLED=0 go build

# Additional flags, as in: make test TESTFLAGS='-run Deadlock -v'
TESTFLAGS  :=
BENCHFLAGS := -bench .
SOAK       := 5m
# As in: make bench COMPAREFLAGS='-rows trigger -markdown'
COMPAREFLAGS :=

# $(call each,NAME,COMMAND) runs COMMAND in every module, up to the first failure.
each = @set -e; for module in $(MODULES); do echo "$(1) $$module"; (cd $$module && $(2)); done
# $(call or-hint,COMMAND,HINT) runs COMMAND, and prints HINT if it fails.
or-hint = @$(1) || { echo 'hint: $(2)' >&2; exit 1; }

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/astrid-actors
	$(BUILD) -trimpath -o bin/astrid-actors ./cmd/astrid-actors

.PHONY: run
run: build ## run the demo tree in the foreground, until Ctrl-C
	bin/astrid-actors run --demo

.PHONY: demo
demo: build ## run the scripted demo: capsules crash and recover
	bin/astrid-actors demo

# The race detector needs cgo, which needs a C compiler with its headers.
race = go list -race errors >/dev/null 2>&1 && \
	echo '\#include <stdlib.h>' | $$(go env CC) -x c -fsyntax-only - >/dev/null 2>&1

# The race detector makes wazero's compiler ten times slower. The compiler shares nothing
# between goroutines and has tests of its own, so it is compiled without.
COMPILER := github.com/tetratelabs/wazero/internal/engine/wazevo
RACEFLAGS := -race $(foreach package,ssa frontend backend/...,-gcflags=$(COMPILER)/$(package)=-race=false)

# The rewriter's tests compile thousands of modules, each on one goroutine: the race
# detector makes them six times slower, and has nothing to find.
UNRACED := ./capsulehost/reductions

.PHONY: test
test: ## run all tests, with the race detector where there is a C compiler
	@set -e; \
	if $(race); then flags='$(RACEFLAGS)'; \
	elif [ -n '$(RACE)' ]; then echo 'error: the race detector needs a C compiler and its headers' >&2; exit 1; \
	else flags=; export CGO_ENABLED=0; echo 'no C compiler: testing without the race detector'; fi; \
	for module in $(MODULES); do \
		echo "test $$module"; (cd $$module && go test $$flags $(TESTFLAGS) $$(go list ./... | grep -v '$(UNRACED:.%=%)$$')); \
	done; \
	go test $(TESTFLAGS) $(UNRACED)

# The number of seeds, and the first: make sim SEEDS=20000 FIRST=1
SEEDS := 2000
FIRST := 1

.PHONY: sim
sim: ## simulate whole systems under faults: make sim SEEDS=20000
	go test $(RACEFLAGS) -timeout 0 ./test/sim -run TestSim -seeds $(SEEDS) -first $(FIRST)
	go test $(RACEFLAGS) -timeout 0 ./test/sim -run TestTrees -seeds $$(($(SEEDS) / 4)) -first $(FIRST)

.PHONY: soak
soak: ## flood a system for a while and check that its memory stays flat: make soak SOAK=1h
	go test $(TESTFLAGS) -run 'TestSoak$$' -v -timeout 0 ./test/faults -soak $(SOAK)

# The number of upgrades of `make upgrades`; every fifth is to a broken version.
UPGRADES := 50
# As in: make upgrades UPGRADEFLAGS=-upgrade-inside, which compiles beside the calls
UPGRADEFLAGS :=

.PHONY: upgrades
upgrades: ## upgrade a capsule in Go under load, and print what that costs calls
	go test $(TESTFLAGS) -run 'TestUpgradeUnderLoad$$' -v -timeout 0 ./test/faults -upgrades $(UPGRADES) -upgrade-go $(UPGRADEFLAGS)

.PHONY: talk
talk: ## have two capsules talk over the bus for ten minutes, while they crash
	go test $(TESTFLAGS) ./supervisor -run TestConversation -v -timeout 0 -args -talk=10m

.PHONY: kill
kill: ## kill the daemon 200 times under load, and check that nothing acknowledged is lost
	go test $(TESTFLAGS) ./cmd/astrid-actors -run TestKilledDaemonKeepsState -v -timeout 0 -args -kills=200

# Where cargo puts the reference, which it builds in some minutes.
REFERENCE := $(or $(CARGO_TARGET_DIR),test/differential/reference/target)

.PHONY: differential
differential: ## compare answers with those of astrid-capsule 0.5.0, which cargo builds
	$(call or-hint,command -v cargo >/dev/null,install Rust: the reference is written in it)
	cargo build --quiet --locked --manifest-path test/differential/reference/Cargo.toml
	go test $(TESTFLAGS) ./test/differential -count=1 -reference $(abspath $(REFERENCE))/debug/reference

.PHONY: bench
bench: ## run the benchmarks, and the comparison with other hosts
	go test -run '^$$' -benchmem $(BENCHFLAGS) ./...
	go -C test/compare run . $(COMPAREFLAGS)

.PHONY: bench-check
bench-check: ## fail if a ratio to other hosts is worse than in baseline.json
	go -C test/compare run . -short -check baseline.json -tolerance 2 $(COMPAREFLAGS)

.PHONY: lint
lint: ## run go vet and the linters, which also check imports and formatting
	$(call each,vet,go vet ./...)
	$(call each,lint,$(LINT) run --config $(CURDIR)/.golangci.yml)

.PHONY: format
format: ## format all Go files
	$(call each,format,$(LINT) fmt --config $(CURDIR)/.golangci.yml)

.PHONY: generate
generate: ## generate Go code in messages/ from its .proto files
	$(PROTOBUF) ../messages

.PHONY: sdk
sdk: ## copy the Go guest library into the capsules of new
	go test ./cmd/astrid-actors -run TestGoSDK -update-sdk

.PHONY: kernel
kernel: ## assemble the kernel from its WebAssembly text
	$(GEN) $(KERNEL)

.PHONY: capsules
capsules: ## assemble every capsule written as WebAssembly text
	$(GEN) $(WAT)

.PHONY: check
check: RACE := required
check: check-text check-built check-tidy lint test sim bench-check cross ## run everything that must pass before a change is merged
	@echo 'check: all well'

.PHONY: check-text
check-text:
	@git grep -nIwE 'TOD[O]|FIXM[E]'; case $$? in \
		0) echo 'error: unfinished work, above' >&2; \
		   echo 'hint: finish it, or file an issue instead' >&2; exit 1;; \
		1) ;; \
		*) exit 1;; esac
	@set -e; for target in $$(grep -oE '(^|`)make [a-z-]+' README.md | sed 's/.*make //' | sort -u); do \
		grep -qE "^$$target:" Makefile || { echo "error: README.md: there is no 'make $$target'" >&2; exit 1; }; done
	$(call or-hint,grep -q 'make test' README.md,name the command that runs the tests in README.md: make test)

.PHONY: check-built
check-built:
	$(call or-hint,command -v wat2wasm >/dev/null,install the Debian package wabt: wat2wasm is missing)
	$(call or-hint,$(GEN) -check $(KERNEL),run make kernel)
	$(call or-hint,$(GEN) -check $(WAT),run make capsules)
	$(call or-hint,$(PROTOBUF) -check ../messages,run make generate)

.PHONY: check-tidy
check-tidy:
	$(call each,tidy,go mod tidy -diff >/dev/null || { echo "hint: run go mod tidy in $$module" >&2; exit 1; })

.PHONY: cross
cross:
	@set -e; for platform in $(PLATFORMS); do \
		echo "build $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(BUILD) -o /dev/null ./cmd/astrid-actors; \
	done
