package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// addYes gives a command that takes something away the flag that answers for a
// person.
func addYes(cmd *cobra.Command) { cmd.Flags().BoolP("yes", "y", false, "do not ask") }

// confirm asks a person whether to go on. It does not ask with --yes or --json;
// where nobody could answer it refuses, so that no script deletes by accident.
func (a *admin) confirm(format string, args ...any) error {
	if given, _ := a.cmd.Flags().GetBool("yes"); given || a.json {
		return nil
	}
	if !isTerminal(a.cmd.InOrStdin()) {
		return wrongUsage("nobody is here to confirm this; give --yes to do it without asking")
	}
	_, _ = fmt.Fprintf(a.cmd.ErrOrStderr(), format+" [y/N] ", args...)
	line, err := bufio.NewReader(a.cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// addPassword gives a command the two ways to give a password besides the prompt.
// There is none by argument or environment: others could see it.
func addPassword(cmd *cobra.Command) {
	cmd.Flags().String("password-file", "", "file to read the password from; - is standard input (otherwise it is asked for)")
}

// password reads a password from --password-file, else asks for it, twice and
// without showing it.
func (a *admin) password() (string, error) {
	file, err := a.cmd.Flags().GetString("password-file")
	if err != nil {
		return "", err
	}
	switch file {
	case "":
		return a.askPassword()
	case "-":
		text, err := io.ReadAll(io.LimitReader(a.cmd.InOrStdin(), maxSecretFile))
		return strings.TrimRight(string(text), "\r\n"), err
	}
	text, fault := readSecretFile(file)
	if fault != nil {
		return "", Faults{{Where: "--password-file", Problem: fault.Problem, Mend: fault.Mend}}
	}
	return text, nil
}

func (a *admin) askPassword() (string, error) {
	if !isTerminal(a.cmd.InOrStdin()) {
		return "", wrongUsage("there is no terminal to ask for the password on; give --password-file, or --no-password")
	}
	read := func(prompt string) (string, error) {
		_, _ = fmt.Fprint(a.cmd.ErrOrStderr(), prompt)
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		_, _ = fmt.Fprintln(a.cmd.ErrOrStderr())
		return string(text), err
	}
	first, err := read("Password (8 characters or more, not shown): ")
	if err != nil {
		return "", err
	}
	again, err := read("Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two are not the same; nothing was done")
	}
	return first, nil
}

func isTerminal(r io.Reader) bool {
	file, ok := r.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
