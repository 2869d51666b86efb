# gox-helix. `make` lists what there is.

# Tools, pinned: sqlc, goose and benchstat in tools/go.mod, the linter here (it
# asks to be built with its own dependencies).
SQLC := go -C tools tool sqlc
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The modules of this repository that have code of their own.
MODULES := . bench cmd/txlock demo goosetest ormtest proof txlockotel

# Those of one package, whose tests mostly wait: tested at the same time.
SMALL := demo goosetest ormtest txlockotel

# The command's go.mod has no replace directive, as go install accepts none, and
# go.work, which stands in for it, does not help go mod tidy: see to a copy that has.
COMMAND := cmd/txlock
COMMAND_MOD := $(CURDIR)/.bin/txlock.mod
TIDY_COMMAND := mkdir -p .bin && cp $(COMMAND)/go.mod $(COMMAND_MOD) && cp $(COMMAND)/go.sum $(COMMAND_MOD:.mod=.sum) \
	&& go mod edit -replace=github.com/gox-helix/gox-helix=../.. $(COMMAND_MOD) && GOWORK=off go -C $(COMMAND) mod tidy -modfile=$(COMMAND_MOD)

# Flags for `go test` and for the demo: make test ARGS='-race -run Deadlock'
ARGS ?=

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

GO_TEST = TXLOCK_TEST_SERVERS=required go test -count=1 -timeout 40m $(ARGS) ./...

.PHONY: test
test: ## run every test on real MySQL and MariaDB, fetching and starting them as needed
	@echo "Unit and integration tests, on TXLOCK_TEST_DSN if that is set, else on private servers."
	@echo "A server that this machine lacks is fetched once, into the user's cache directory."
	@for m in $(filter-out $(SMALL),$(MODULES)); do (cd $$m && $(GO_TEST)) || exit 1; done
	@for m in $(SMALL); do (cd $$m && $(GO_TEST)) & all="$$all $$!"; done; for p in $$all; do wait $$p || failed=1; done; test -z "$$failed"

.PHONY: demo
demo: ## post payouts with worker processes that are killed and paused, and audit the ledger
	@go build -C demo -o ../.bin/demo .
	@cd demo && exec ../.bin/demo $(ARGS)

.PHONY: demo-unprotected
demo-unprotected: ## the same without the library: what goes wrong
	@$(MAKE) --no-print-directory demo ARGS='-unprotected $(ARGS)'

.PHONY: bench
bench: ## measure a protected transaction beside other locks, in turns; writes bench/RESULTS.md (ARGS='-short': see that it works)
	@go build -C bench -o ../.bin/bench . && cd bench && exec ../.bin/bench $(or $(ARGS),-out .)

.PHONY: microbench
microbench: ## run the benchmarks of package txlock on real servers (ARGS='-short' leaves the million rows out)
	TXLOCK_TEST_SERVERS=required go test -run '^$$' -bench . -benchmem -timeout 60m $(ARGS) ./txlock

# PROOF_BUILD: flags of its build, as -race for its workers.
.PHONY: proof
proof: ## load, faults, clusters and mutants, judged; writes proof/REPORT.md (ARGS='run -short': a few minutes)
	@go build -C proof $(PROOF_BUILD) -o ../.bin/proof . && cd proof && exec ../.bin/proof $(or $(ARGS),report)

# IN: the directory to generate in.
IN := .

.PHONY: generate
generate: ## write package lockdb from the migrations and lockdb/queries
	$(SQLC) generate -f $(abspath $(IN))/sqlc.yaml
	go -C tools run ./finish $(abspath $(IN))/lockdb/*.sql.go $(abspath $(IN))/lockdb/querier.go

.PHONY: verify
verify: ## fail if generated code, module files or formatting are not as they should be
	$(SQLC) vet -f ../sqlc.yaml
	@rm -rf .bin/generated && mkdir -p .bin/generated && cp -r sqlc.yaml migrations lockdb .bin/generated && rm .bin/generated/lockdb/*.sql.go
	@$(MAKE) --no-print-directory generate IN=.bin/generated && diff -r lockdb .bin/generated/lockdb && rm -r .bin/generated
	@for m in $(filter-out $(COMMAND),$(MODULES)) tools; do echo "go mod tidy -diff, go mod verify in $$m" && go -C $$m mod tidy -diff && go -C $$m mod verify >/dev/null || exit 1; done
	@echo "the same in $(COMMAND)" && $(TIDY_COMMAND) -diff && go -C $(COMMAND) mod verify >/dev/null
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

.PHONY: lint
lint: ## go vet and golangci-lint
	@for m in $(MODULES); do echo "vet and lint in $$m"; (cd $$m && go vet ./... && $(LINT) run ./...) || exit 1; done

.PHONY: tidy
tidy: ## go mod tidy in every module
	@for m in $(filter-out $(COMMAND),$(MODULES)) tools; do go -C $$m mod tidy || exit 1; done
	@$(TIDY_COMMAND) && go mod edit -dropreplace=github.com/gox-helix/gox-helix $(COMMAND_MOD) && cp $(COMMAND_MOD) $(COMMAND)/go.mod && cp $(COMMAND_MOD:.mod=.sum) $(COMMAND)/go.sum

.PHONY: txlock
txlock: ## build the command, as one static binary: .bin/txlock
	@CGO_ENABLED=0 go build -C $(COMMAND) -trimpath -o $(CURDIR)/.bin/txlock . && echo .bin/txlock

.PHONY: clean
clean: ## remove what was built here (downloaded servers stay in the user's cache directory)
	rm -rf .bin
