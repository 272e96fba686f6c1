package templates_test

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"grantd/templates"
)

func TestAssets(t *testing.T) {
	names, err := fs.Glob(templates.Assets(), "*")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(templates.Assets(), names...); err != nil {
		t.Error(err)
	}
	hashed := regexp.MustCompile(`^(style\.[0-9a-f]{12}\.css|logo\.[0-9a-f]{12}\.svg|passkey\.[0-9a-f]{12}\.js)$`)
	if len(names) != 3 {
		t.Errorf("assets: %v", names)
	}
	for _, name := range names {
		if !hashed.MatchString(name) {
			t.Errorf("%s has no hash in its name", name)
		}
		if text := readAsset(t, name); regexp.MustCompile(`(?i)url\(|@import|<script|<style|style=|\bon\w+=`).MatchString(text) {
			t.Errorf("%s loads or runs something", name)
		}
	}
}

func readAsset(t *testing.T, pattern string) string {
	t.Helper()
	names, err := fs.Glob(templates.Assets(), pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	text, err := fs.ReadFile(templates.Assets(), names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestContrast measures WCAG 2.2 contrast (1.4.3 text, 1.4.11 controls) of the
// stylesheet's colours in both schemes.
func TestContrast(t *testing.T) {
	light, dark := schemes(t, readAsset(t, "style.*.css"))
	pairs := []struct {
		ink, ground string
		least       float64
	}{
		{"ink", "page", 4.5},
		{"ink", "card", 4.5},
		{"ink", "well", 4.5},
		{"muted", "page", 4.5},
		{"muted", "card", 4.5},
		{"muted", "well", 4.5},
		{"accent", "card", 4.5},
		{"accent-strong", "card", 4.5},
		{"on-accent", "accent", 4.5},
		{"on-accent", "accent-strong", 4.5},
		{"good-ink", "good-ground", 4.5},
		{"warn-ink", "warn-ground", 4.5},
		{"bad-ink", "bad-ground", 4.5},
		{"outline", "card", 3},
		{"bad-ink", "card", 3},
		{"accent", "page", 3},
	}
	for name, colours := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, p := range pairs {
			if got := contrast(t, colours[p.ink], colours[p.ground]); got < p.least {
				t.Errorf("%s: %s on %s is %.2f:1, want %.1f:1", name, p.ink, p.ground, got, p.least)
			}
		}
	}
}

var token = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)

// schemes reads the tokens: those before the dark block are the light scheme,
// and hold in the dark one where it does not override them.
func schemes(t *testing.T, css string) (light, dark map[string]string) {
	t.Helper()
	first, rest, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark scheme")
	}
	light, dark = map[string]string{}, map[string]string{}
	for _, m := range token.FindAllStringSubmatch(first, -1) {
		light[m[1]], dark[m[1]] = m[2], m[2]
	}
	for _, m := range token.FindAllStringSubmatch(rest, -1) {
		dark[m[1]] = m[2]
	}
	return light, dark
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil {
		t.Fatal(fmt.Errorf("colour %q: %w", colour, err))
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}
