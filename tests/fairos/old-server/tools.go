//go:build tools

// Package tools is never compiled. It says why go.mod asks for the server, so that `go mod tidy` keeps it.
package tools

import _ "github.com/fairdatasociety/fairOS-dfs/cmd/dfs"
