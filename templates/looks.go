package templates

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Looks are what an organisation gives the pages of its own. The zero value is
// grantd as it comes.
type Looks struct {
	Name   string // in the place of "grantd"; "": that
	Logo   []byte // SVG or PNG; nil: grantd's
	Color  string // the accent, #rrggbb; "": grantd's
	Folder fs.FS  // pages, and style.css, in the place of the built-in ones of the same names; nil: none
	// Language, one of Languages, is for whoever states none that is there, and for
	// mails; "": English.
	Language string
}

// What is wrong with Looks.
var (
	ErrLogo  = errors.New("is neither an SVG nor a PNG image of at most 256 KiB")
	ErrColor = errors.New("is no colour as #1a2b3c")
	ErrName  = errors.New("is longer than 64 characters or has characters that nobody can see")

	ErrLanguage = errors.New("is no language of the pages")
)

const (
	maxLogo    = 256 << 10
	maxStyle   = 256 << 10
	styleSheet = "style.css"
)

// NewWith is New with the looks of an organisation. ErrLogo, ErrColor, ErrName,
// ErrLanguage, or what is wrong with a page of its own.
func NewWith(looks Looks) (*Set, error) {
	language := cmp.Or(looks.Language, English)
	if !slices.Contains(Languages, language) {
		return nil, ErrLanguage
	}
	looks.Language = ""
	set, err := newWith(looks)
	if err != nil {
		return nil, err
	}
	return set.in(language)
}

func newWith(looks Looks) (*Set, error) {
	if looks.Name == "" && looks.Logo == nil && looks.Color == "" && looks.Folder == nil {
		return New()
	}
	if looks.Name != CleanText(looks.Name, 64) {
		return nil, ErrName
	}
	own := slices.Clone(hashedFiles)
	if looks.Logo != nil {
		ext := imageExtension(looks.Logo)
		if ext == "" {
			return nil, ErrLogo
		}
		own = append(own, hashed("brand", ext, looks.Logo))
	}
	if looks.Color != "" {
		css, err := accentCSS(looks.Color)
		if err != nil {
			return nil, err
		}
		own = append(own, hashed("brand", "css", []byte(css)))
	}
	files := fs.FS(htmlFiles)
	if looks.Folder != nil {
		var err error
		if own, err = withStyle(own, looks.Folder); err != nil {
			return nil, err
		}
		files = overlay{looks.Folder, htmlFiles}
		if err := onlyKnown(looks.Folder); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(own, func(a, b asset) int { return strings.Compare(a.name, b.name) })
	set, err := newSetWith(files, own, looks.Name)
	if err != nil || looks.Folder == nil {
		return set, err
	}
	return set, set.tryOut()
}

// withStyle puts the folder's style.css, if there is one, in the place of the built-in
// one.
func withStyle(files []asset, folder fs.FS) ([]asset, error) {
	content, err := fs.ReadFile(folder, styleSheet)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return files, nil
	case err != nil:
		return nil, fmt.Errorf("templates: %s cannot be read: %w", styleSheet, err)
	case len(content) > maxStyle:
		return nil, fmt.Errorf("templates: %s is larger than 256 KiB", styleSheet)
	}
	files = slices.DeleteFunc(files, func(a asset) bool { return a.source == styleSheet })
	return append(files, hashed("style", "css", content)), nil
}

func hashed(stem, ext string, content []byte) asset {
	sum := sha256.Sum256(content)
	return asset{source: stem + "." + ext, name: stem + "." + hex.EncodeToString(sum[:6]) + "." + ext, content: content}
}

// imageExtension is svg or png, "" for any other content.
func imageExtension(content []byte) string {
	switch {
	case len(content) > maxLogo:
		return ""
	case bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")):
		return "png"
	case bytes.HasPrefix(bytes.TrimSpace(content), []byte("<")) && bytes.Contains(content, []byte("<svg")):
		return "svg"
	}
	return ""
}

// brandFunctions are those of the layout, for a server below root.
func brandFunctions(files assetFS, name, root string) template.FuncMap {
	find := func(source string) string {
		for _, a := range files {
			if a.source == source {
				return a.name
			}
		}
		return ""
	}
	logo := cmp.Or(find("brand.svg"), find("brand.png"), find("logo.svg"))
	return template.FuncMap{
		"root":  func() string { return root },
		"brand": func() string { return cmp.Or(name, "grantd") },
		"logo":  func() string { return logo },
		"isPNG": func() bool { return strings.HasSuffix(logo, ".png") },
		"theme": func() string { return find("brand.css") },
		"asset": files.named,
	}
}

// The grounds that the accent stands on, in the light and in the dark scheme; see
// style.css.
const (
	lightCard, lightPage = "#ffffff", "#f3f5f2"
	darkCard, darkPage   = "#161d1a", "#0d1210"
	leastContrast        = 4.5 // WCAG 1.4.3
)

// accentCSS are the tokens of style.css that follow from one colour. Where the colour
// itself could not be read on the page, or text not on it, it is made darker, or
// lighter in the dark scheme, until it can.
func accentCSS(color string) (string, error) {
	accent, err := parseColor(color)
	if err != nil {
		return "", err
	}
	light := untilReadable(accent, rgb{}, lightPage)
	dark := untilReadable(accent, rgb{255, 255, 255}, darkCard)
	scheme := func(accent, strong rgb, on string) string {
		return fmt.Sprintf(":root { --accent: %s; --accent-strong: %s; --on-accent: %s; }\n", accent, strong, on)
	}
	return scheme(light, light.towards(rgb{}, 0.25), lightCard) +
		"@media (prefers-color-scheme: dark) {\n" + scheme(dark, dark.towards(rgb{255, 255, 255}, 0.35), darkPage) + "}\n", nil
}

func untilReadable(c, towards rgb, ground string) rgb {
	below, _ := parseColor(ground) // a constant
	for i := range 100 {
		if made := c.towards(towards, float64(i)/100); contrastOf(made, below) >= leastContrast {
			return made
		}
	}
	return towards
}

type rgb [3]uint8

func parseColor(s string) (rgb, error) {
	digits, ok := strings.CutPrefix(s, "#")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || len(digits) != 6 || err != nil {
		return rgb{}, ErrColor
	}
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil //nolint:gosec // cut to a byte on purpose
}

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

func (c rgb) towards(other rgb, part float64) rgb {
	var made rgb
	for i := range c {
		made[i] = uint8(math.Round(float64(c[i])*(1-part) + float64(other[i])*part))
	}
	return made
}

// contrastOf is the contrast ratio of WCAG 2.
func contrastOf(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func (c rgb) luminance() float64 {
	linear := func(channel uint8) float64 {
		v := float64(channel) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// overlay finds a page in the folder above, else among the built-in ones.
type overlay struct{ above, below fs.FS }

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	if own, ok := strings.CutPrefix(name, "html/"); ok {
		if file, err := o.above.Open(own); !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return o.below.Open(name)
}

// onlyKnown refuses a page that would never be shown.
func onlyKnown(folder fs.FS) error {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return fmt.Errorf("templates: the folder cannot be read: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if _, ok := claimed[name]; path.Ext(name) == ".html" && !ok && !slices.Contains(sharedFiles, name) {
			return fmt.Errorf("templates: no page is called %s", name)
		}
	}
	return nil
}

// tryOut renders every page in every language, with everything and with hardly anything
// on it, so that a mistake in a branch shows at the start. The pages are made for that
// alone: nobody may ever read some of the languages.
func (s *Set) tryOut() error {
	trial := *s
	trial.pages = s.made(s.root)
	for _, language := range Languages {
		for name, least := range claimed {
			for _, yes := range []bool{true, false} {
				page := reflect.New(reflect.TypeOf(least)).Elem()
				sample(page, yes)
				if err := trial.render(Writer{io.Discard, language}, name, page.Interface()); err != nil {
					return err
				}
			}
		}
		delete(trial.pages, language)
	}
	return nil
}

// sample fills a value: each text is also a path of this server, each list has two.
func sample(v reflect.Value, yes bool) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("/sample")
		if v.Type() == reflect.TypeFor[AppURI]() {
			v.SetString(appURIPrefix + "sample")
		}
	case reflect.Bool:
		v.SetBool(yes)
	case reflect.Int:
		v.SetInt(2)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			sample(v.Index(i), yes)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(0, 0)))
			return
		}
		for i := range v.NumField() {
			sample(v.Field(i), yes)
		}
	}
}
