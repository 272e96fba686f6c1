package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// oldestNode is the major version that the oldest Debian we test on has.
const oldestNode = 18

// errNoNode: what the tests with packages of npm need is not here.
var errNoNode = errors.New("the tests with packages of npm do not run")

// installed are the folders that TestMain removes.
var installed []string

// typescript and provider are copies of the folders of these names with their packages
// installed, made once, and outside the checkout.
var (
	typescript = sync.OnceValues(func() (string, error) { return install("typescript") })
	provider   = sync.OnceValues(func() (string, error) { return install("provider") })
)

func install(name string) (folder string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: node: %w", errNoNode, err)
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if number, err := strconv.Atoi(major); err != nil || number < oldestNode {
		return "", fmt.Errorf("%w: node %s is older than %d", errNoNode, version, oldestNode)
	}
	if folder, err = os.MkdirTemp("", "grantd-e2e-"+name+"-"); err != nil {
		return "", err
	}
	installed = append(installed, folder)
	if err := os.CopyFS(folder, os.DirFS(name)); err != nil {
		return "", err
	}
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000")
	install.Dir = folder
	out, err = install.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound), ctx.Err() != nil:
		return "", fmt.Errorf("%w: npm: %w", errNoNode, err)
	case err != nil && unreachable.Match(out):
		return "", fmt.Errorf("%w: no registry: %s", errNoNode, unreachable.Find(out))
	case err != nil:
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return folder, nil
}

// unreachable is how npm says that the fault is not the lock file's.
var unreachable = regexp.MustCompile(`npm (?:error|ERR!) code (?:E[45]\d\d|EAI_AGAIN|ENOTFOUND|ECONN\w+|ENET\w+|EHOST\w+|ETIMEDOUT|ERR_SOCKET_TIMEOUT|FETCH_ERROR)\b`)

// needTypeScript is typescript for a test.
func needTypeScript(t *testing.T) (folder string) {
	t.Helper()
	return need(t, typescript)
}

// need returns what was installed. Without node, npm or a registry the test is
// skipped, or fails where GRANTD_TEST_REQUIRE_NODE is 1.
func need(t *testing.T, installed func() (string, error)) (folder string) {
	t.Helper()
	folder, err := installed()
	switch {
	case errors.Is(err, errNoNode) && os.Getenv("GRANTD_TEST_REQUIRE_NODE") != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return folder
}

// application is a running driver of an SDK (typescript/driver.mjs), with the
// person who uses it.
type application struct {
	t           *testing.T
	person      *person
	redirectURI string
	reports     <-chan report
	commands    io.Writer
	errors      *lockedBuffer

	decision string       // what the person presses from now on
	opened   []url.Values // the authorization requests so far
	sent     []sentForm   // the token requests so far
}

// report is a line from the driver. Which fields count depends on Report.
type report struct {
	Report      string          `json:"report"`
	RedirectURI string          `json:"redirect_uri"`
	URL         string          `json:"url"`
	Value       json.RawMessage `json:"value"`
	sentForm
	refusal
}

// sentForm is a token request as the SDK sent it.
type sentForm struct {
	Authorization string            `json:"authorization"`
	Form          map[string]string `json:"form"`
	Status        int               `json:"status"`
}

// authentication is the client authentication method the request used.
func (s sentForm) authentication() string {
	switch {
	case strings.HasPrefix(s.Authorization, "Basic "):
		return "client_secret_basic"
	case s.Form["client_secret"] != "":
		return "client_secret_post"
	case s.Form["client_assertion"] != "":
		return "private_key_jwt"
	default:
		return "none"
	}
}

// refusal is the error a command ended with in the SDK.
type refusal struct {
	Name    string `json:"name"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// startApplication runs a script of the folder typescript until the test ends.
func startApplication(t *testing.T, folder, script string, p *person) *application {
	t.Helper()
	// Not the test's context: the driver ends by itself when its input does.
	command := exec.CommandContext(context.Background(), "node", filepath.Join(folder, script))
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a := &application{t: t, person: p, commands: stdin, errors: new(lockedBuffer), decision: "approve"}
	command.Stderr = a.errors
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	reports := make(chan report, 100)
	a.reports = reports
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(reports)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			var r report
			if json.Unmarshal(scanner.Bytes(), &r) != nil {
				_, _ = a.errors.Write(append(scanner.Bytes(), '\n'))
				continue
			}
			reports <- r
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		stop := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		defer stop.Stop()
		<-read
		if err := command.Wait(); err != nil {
			t.Errorf("%s ended with %v", script, err)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", script, a.errors.String())
		}
	})
	a.redirectURI = a.next("ready").RedirectURI
	return a
}

// do has the application do something, sending the person to the browser when it
// asks for that. The refusal is nil when it succeeded.
func (a *application) do(command string, with map[string]any) (json.RawMessage, *refusal) {
	a.t.Helper()
	line := map[string]any{"do": command}
	for name, value := range with {
		line[name] = value
	}
	if err := json.NewEncoder(a.commands).Encode(line); err != nil {
		a.t.Fatalf("%s: %v\n%s", command, err, a.errors.String())
	}
	for {
		switch r := a.next(""); r.Report {
		case "open":
			target, err := url.Parse(r.URL)
			if err != nil {
				a.t.Fatal(err)
			}
			a.opened = append(a.opened, target.Query())
			a.person.decide(a.t, r.URL, a.decision)
		case "sent":
			a.sent = append(a.sent, r.sentForm)
		case "done":
			return r.Value, nil
		case "failed":
			return nil, &r.refusal
		}
	}
}

// must is do for what has to succeed.
func (a *application) must(command string, with map[string]any) json.RawMessage {
	a.t.Helper()
	value, refused := a.do(command, with)
	if refused != nil {
		a.t.Fatalf("%s %v: %+v", command, with, *refused)
	}
	return value
}

// next waits for a report, of this name unless it is "".
func (a *application) next(name string) report {
	a.t.Helper()
	select {
	case r, open := <-a.reports:
		if !open || (name != "" && r.Report != name) {
			a.t.Fatalf("the driver said %q, want %q\n%s", r.Report, name, a.errors.String())
		}
		return r
	case <-time.After(45 * time.Second):
		a.t.Fatalf("the driver says nothing\n%s", a.errors.String())
		return report{}
	}
}

// person signs in and decides in a browser.
type person struct {
	browser            context.Context
	username, password string
}

func (p *person) decide(t *testing.T, authorizationURL, decision string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.browser, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(authorizationURL)); err != nil {
		t.Fatal(err)
	}
	asked, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.querySelector('input[name="username"]') !== null`))
	if err != nil {
		t.Fatal(err)
	}
	if asked {
		err = chromedp.Do(ctx, signIn(authorizationURL, p.username, p.password))
	}
	if err == nil {
		// Until the client's page is there: a tab that is still on its way to it
		// would break off the next visit.
		_, err = chromedp.RunResponse(ctx, press(decision))
	}
	if err != nil {
		t.Fatalf("%s at %s: %v", decision, authorizationURL, err)
	}
}
