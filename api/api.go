// Package api is the admin API: its description in OpenAPI 3.1, and the Go that
// is generated from it. server/admin implements StrictServerInterface; the admin
// commands call ClientWithResponses.
package api

import _ "embed"

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config server.yaml -o api.gen.go openapi.yaml
//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config client.yaml -o client.gen.go openapi.yaml

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
