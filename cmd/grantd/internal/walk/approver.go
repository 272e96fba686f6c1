package walk

import (
	"context"
	"os"
	"os/exec"
	"runtime"
)

// Person is an Approver that leaves it to whoever sits at the terminal.
type Person struct {
	// SignIn tells how to sign in, as "demo with password ..."; may be empty.
	SignIn string
	// Open brings a browser to a URL; nil: the person does.
	Open func(ctx context.Context, url string)
}

// Approve shows the URL.
func (p Person) Approve(ctx context.Context, request AuthorizationRequest, say func(string)) error {
	say("Open this in a browser, and approve:")
	say("")
	say("  " + request.URL)
	say("")
	if p.SignIn != "" {
		say("Sign in as " + p.SignIn + ". Waiting for the browser to come back …")
	}
	if p.Open != nil {
		p.Open(ctx, request.URL)
	}
	return nil
}

// OpenBrowser tries to open url in the desktop's browser. Where there is none
// nothing happens: the person has the URL.
func OpenBrowser(ctx context.Context, url string) {
	var command []string
	switch {
	case runtime.GOOS == "darwin":
		command = []string{"open", url}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		command = []string{"xdg-open", url}
	default:
		return
	}
	opener := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...) //nolint:gosec // one of three programs, and a URL that was built here
	if opener.Start() == nil {
		go func() { _ = opener.Wait() }() // leaves no zombie; how it ends does not matter
	}
}
