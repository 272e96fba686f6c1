# Nothing here that only make knows: each target is one command you can type.
.DEFAULT_GOAL := help

.PHONY: help demo build test lint ci

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: ## try grantd with a protected MCP server beside it
	go run ./cmd/grantd demo

build: ## build bin/grantd
	go build -o bin/grantd ./cmd/grantd

test: ## run the tests
	go test -race -timeout 30m ./...

lint: ## run the linters
	golangci-lint run

ci: ## run what a change must pass
	.ci/run
