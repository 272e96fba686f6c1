# Nothing here that only make knows: each target is one command you can type.
.DEFAULT_GOAL := help

.PHONY: help demo build test lint screenshots ci

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: ## try grantd with a protected MCP server beside it
	go run ./cmd/grantd demo

build: ## build bin/grantd
	go build -o bin/grantd ./cmd/grantd

test: ## run the tests
	go test -race -timeout 38m ./server ./...

lint: ## run the linters
	golangci-lint run

screenshots: ## draw every page into docs/screenshots (needs Chromium)
	GRANTD_TEST_REQUIRE_BROWSER=1 GRANTD_TEST_SCREENSHOTS=../docs/screenshots go test -count=1 -run TestScreenshots ./e2e

ci: ## run what a change must pass
	.ci/run
