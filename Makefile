GO ?= go
FUZZTIME ?= 5s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 19

.PHONY: build
build: ## build bin/holdfast
	$(GO) build -o bin/holdfast ./cmd/holdfast

.PHONY: demo
demo: build ## make an image from a real tree, check it, and explore every crash of a rename
	@cmd/holdfast/demo.sh bin/holdfast

.PHONY: test
test: check race fuzz ## everything a change must pass
	$(GO) test ./...

.PHONY: check
check: ## formatting, vet on three systems, staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	GOOS=darwin $(GO) vet $(LIBRARIES)
	GOOS=windows $(GO) vet $(LIBRARIES)
	$(GO) tool staticcheck ./...

LIBRARIES = ./disk ./layout ./journal ./volume/... ./fsck ./crash ./workload ./transfer

.PHONY: race
race: ## the packages with concurrency under the race detector
	$(GO) test -race -short ./disk ./journal ./volume/... ./crash

.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME each (5s)
	@log=$$(mktemp) && trap 'rm -f '$$log EXIT; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "fuzz $$p $$f"; \
			if $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p >$$log 2>&1; then tail -n 1 $$log; continue; fi; \
			cat $$log; grep -q '^ *context deadline exceeded$$' $$log && ! grep -q 'Failing input' $$log || exit 1; \
			echo "(the time ended within an input; nothing failed)"; \
		done; \
	done

SHARDS ?= 16
CAMPAIGN ?= --seq 1 --nested fix
CAMPAIGNDIR ?= bin/campaign

.PHONY: campaign
campaign: build ## all crash states of all short workloads, in SHARDS (16), with CAMPAIGN (--seq 1 --nested fix)
	@cmd/holdfast/campaign.sh bin/holdfast $(CAMPAIGNDIR) $(SHARDS) $(CAMPAIGN)

.PHONY: golden
golden: ## every golden workload, the long ones too, with every fault at once and crashes inside recovery to the fixpoint
	$(GO) test -count=1 -timeout 600m -run '^TestGolden$$' -v ./cmd/holdfast -args -golden

.PHONY: copies
copies: ## two copies: every used sector damaged in turn, every golden workload with decay, 200 campaigns of mixed errors
	$(GO) test -count=1 -timeout 240m -run '^Test(Copies|GoldenCopies)' -v ./cmd/holdfast -args -sweep -copies -campaigns 200

.PHONY: campaign-ordered
campaign-ordered: build ## all pairs of operations without a journal, half an hour on two cores
	@cmd/holdfast/campaign.sh bin/holdfast $(CAMPAIGNDIR)-ordered $(SHARDS) --seq 2 --atomic --image journal=none

.PHONY: mount-kill
mount-kill: ## kill the server of a mount in the middle of a load of 8 processes, CYCLES times (100), and replay
	FUSEFS_CYCLES=$(CYCLES) FUSEFS_SEED=$(SEED) $(GO) test -count=1 -timeout 60m -run '^TestKill$$' -v ./fusefs

CYCLES ?= 100

.PHONY: programs
programs: ## real programs on a mount, also those that take long: git, SQLite, PostgreSQL, go test, stress-ng, ...
	FUSEFS_PROGRAMS=all $(GO) test -count=1 -timeout 60m -run '^Test(Programs|KillPostgres)$$' -v ./fusefs

.PHONY: sweep
sweep: ## damage every sector in use of images at rest, one at a time: healed, named, or a documented gap
	$(GO) test ./volume -count=1 -timeout 60m -run '^TestSweepOneCopy$$' -v -args -sweep

.PHONY: bench
bench: build ## blocks written and flushes per durable operation, speeds, and the making of images beside other tools
	$(GO) test -run '^$$' -bench . -benchtime 1x ./cmd/holdfast
	$(GO) test -run '^$$' -bench '^BenchmarkMount$$' -benchtime 1x -timeout 60m ./fusefs
	cmd/holdfast/benchimage.sh bin/holdfast

NAMES ?= 10000000

.PHONY: names
names: ## one directory of NAMES names (10,000,000), and 1,000 directories of 1,000 files: some 5 GB of disk, up to an hour
	$(GO) test ./volume -count=1 -timeout 0 -run '^$$' -bench '^BenchmarkDirectory$$' -benchtime 1x -v -args -entries $(NAMES)
	$(GO) test ./volume -count=1 -timeout 0 -run '^$$' -bench '^BenchmarkSpread$$' -benchtime 1x -v -args -spread 1000

.PHONY: mutants
mutants: ## break the program on purpose: each broken variant must be caught, by the modes that can (UPDATE=1 writes docs/CRASH.md)
	$(GO) test . -count=1 -timeout 90m -run '^(TestMutantsApply|TestKill)$$' -v -args -kill $(if $(UPDATE),-update)
