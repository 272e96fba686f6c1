// Command mcp-server runs the Notes example: an MCP server whose tokens come from
// grantd. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"grantd/examples/mcp-server/notes"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatalf("mcp-server: %v", err)
	}
}

func run(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("mcp-server", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8090", "address to listen on")
	resource := flags.String("resource", "", "URL of this server as clients see it (default http://LISTEN/mcp)")
	issuer := flags.String("issuer", "http://127.0.0.1:8080", "the authorization server")
	clientID := flags.String("client-id", "", "client that may introspect; its secret in NOTES_CLIENT_SECRET")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	uri := cmp.Or(*resource, "http://"+*listen+"/mcp")
	handler, err := notes.New(notes.Config{
		ResourceURI:  uri,
		Issuer:       *issuer,
		ClientID:     *clientID,
		ClientSecret: os.Getenv("NOTES_CLIENT_SECRET"),
	})
	if err != nil {
		return err
	}

	server := &http.Server{
		Addr:              *listen,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	stopped := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	defer stopped()
	fmt.Printf("Notes at %s, tokens from %s\n", uri, *issuer)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
