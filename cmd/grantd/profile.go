//go:build profile && unix

package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
)

// A binary built with the tag "profile", which none that is released is, writes
// profiles to the folder $GRANTD_TEST_PROFILE: SIGUSR1 begins, the next one ends.
// It listens nowhere for that.
func init() {
	folder := os.Getenv("GRANTD_TEST_PROFILE")
	if folder == "" {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			if err := profile(folder, signals); err != nil {
				fmt.Fprintln(os.Stderr, "grantd: profile:", err)
			}
		}
	}()
}

func profile(folder string, end <-chan os.Signal) error {
	partial := filepath.Join(folder, "partial")
	write := func(name string, write func(*os.File) error) error {
		file, err := os.Create(partial) //nolint:gosec // where who started it says
		if err != nil {
			return err
		}
		if err := write(file); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
		return os.Rename(partial, filepath.Join(folder, name))
	}
	err := write("cpu.pprof", func(file *os.File) error {
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		<-end
		pprof.StopCPUProfile()
		return nil
	})
	if err != nil {
		return err
	}
	return write("allocs.pprof", func(file *os.File) error { return pprof.Lookup("allocs").WriteTo(file, 0) })
}
