// Package server builds every handler and mounts every route. Nothing else in
// the house knows all of them.
package server
