package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// column is one column of a table about Ts.
type column[T any] struct {
	title string
	text  func(T) string
	cut   cutting
}

// cutting says whether a column may be cut to fit a terminal.
type cutting bool

const (
	short cutting = false // may be cut
	whole cutting = true  // is copied from, and so never cut
)

const (
	columnGap = 2
	narrowest = 10 // what a column that is cut keeps, in characters
	cutOff    = "…"
	unlimited = 0 // the width of what is no terminal
)

// writeTable writes aligned columns. On a terminal the widest ones are cut until
// a line fits; into a file or a pipe everything is written whole.
func writeTable[T any](w io.Writer, items []T, columns []column[T]) error {
	rows := make([][]string, 1, len(items)+1)
	for _, c := range columns {
		rows[0] = append(rows[0], c.title)
	}
	for _, item := range items {
		var row []string
		for _, c := range columns {
			row = append(row, printable(c.text(item)))
		}
		rows = append(rows, row)
	}
	cuts := make([]cutting, len(columns))
	for i, c := range columns {
		cuts[i] = c.cut
	}
	widths := fit(rows, cuts, terminalWidth(w))
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = shorten(cell, widths[i])
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+columnGap))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit returns the widths of the columns; total is what a line may have, or 0.
func fit(rows [][]string, cuts []cutting, total int) []int {
	widths := make([]int, len(cuts))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if total == unlimited {
		return widths
	}
	for {
		sum, widest := -columnGap, -1
		for i, width := range widths {
			sum += width + columnGap
			if cuts[i] == short && width > narrowest && (widest < 0 || width > widths[widest]) {
				widest = i
			}
		}
		if sum <= total || widest < 0 {
			return widths
		}
		widths[widest] = max(narrowest, widths[widest]-(sum-total))
	}
}

func shorten(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + cutOff
}

// terminalWidth is how many characters a line of w has, 0 when it is no terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return unlimited
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return unlimited
	}
	return width
}

// printable is text that does nothing to a terminal: some of it (the name of a
// client that registered itself) was chosen by strangers.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// property is one line about a single thing; without a text it is left out.
type property struct{ name, text string }

// writeProperties writes lines whose texts are aligned.
func writeProperties(w io.Writer, properties []property) error {
	width := 0
	for _, p := range properties {
		if p.text != "" {
			width = max(width, utf8.RuneCountInString(p.name))
		}
	}
	var b strings.Builder
	for _, p := range properties {
		if p.text == "" {
			continue
		}
		indent := "\n" + strings.Repeat(" ", width+columnGap)
		var lines []string
		for line := range strings.SplitSeq(p.text, "\n") {
			lines = append(lines, printable(line))
		}
		fmt.Fprintf(&b, "%-*s%s\n", width+columnGap, p.name, strings.Join(lines, indent))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// minute is a time in a table.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// second is a time that may be absent, as a property.
func second(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
