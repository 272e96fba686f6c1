//go:build !unix

package main

import "io/fs"

// hardenProcess has nothing to do where there are neither core dumps nor umasks.
func hardenProcess() error { return nil }

// readableByOthers cannot tell: file modes say nothing about access here.
func readableByOthers(fs.FileInfo) bool { return false }

// syncDir has nothing to do where folders cannot be synced.
func syncDir(string) error { return nil }
