package templates

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// English is the language that the pages are written in: its sentences are the keys
// of every catalogue, and what a catalogue lacks is shown in it.
const English = "en"

// Languages are the languages of the pages.
var Languages = []string{English, "de", "fr", "es", "ja", "zh-Hans"}

var languageMatcher = func() language.Matcher {
	tags := make([]language.Tag, len(Languages))
	for i, tag := range Languages {
		tags[i] = language.MustParse(tag)
	}
	return language.NewMatcher(tags)
}()

// maxPreferences bounds what is read of what a browser or a client prefers.
const maxPreferences = 256

// MatchLanguage chooses one of Languages: the first that fits what the client asks
// for (ui_locales of OpenID Connect Core §3.1.2.1, tags with spaces between them),
// else what the browser does (Accept-Language), else that of the organisation.
func (s *Set) MatchLanguage(uiLocales, acceptLanguage string) string {
	var asked []language.Tag
	if len(uiLocales) <= maxPreferences {
		for field := range strings.FieldsSeq(uiLocales) {
			if tag, err := language.Parse(field); err == nil {
				asked = append(asked, tag)
			}
		}
	}
	if _, i, confidence := languageMatcher.Match(asked...); len(asked) > 0 && confidence > language.No {
		return Languages[i]
	}
	if len(acceptLanguage) > maxPreferences {
		return s.language
	}
	accepted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil || len(accepted) == 0 {
		return s.language
	}
	if _, i, confidence := languageMatcher.Match(accepted...); confidence > language.No {
		return Languages[i]
	}
	return s.language
}

// Say is a sentence in the organisation's language, with the values in the place of
// their {names}, for what is no page. The values are put in as they are.
func (s *Set) Say(sentence string, values map[string]string) string {
	return Fill(s.words.text(sentence), values)
}

// Moment is a time in the organisation's language, to the minute.
func (s *Set) Moment(t time.Time) string {
	words, _ := s.words.moment(t) // its arguments are whole
	return fmt.Sprint(words)
}

// A Writer takes pages in a language, one of Languages. Any other writer takes them
// in that of the organisation.
type Writer struct {
	io.Writer
	Language string
}

//go:embed locales
var localeFiles embed.FS

// A message is a translation: one form, or those of the plurals of CLDR.
type message map[string]string

const otherForm = "other"

// UnmarshalJSON reads a string, or an object of plural forms.
func (m *message) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*m = message{otherForm: one}
		return nil
	}
	return json.Unmarshal(text, (*map[string]string)(m))
}

// A catalogue says the pages' sentences in one language.
type catalogue struct {
	language string
	tag      language.Tag
	messages map[string]message
}

func loadCatalogue(name string) (*catalogue, error) {
	c := &catalogue{language: name, tag: language.MustParse(name)}
	if name == English {
		return c, nil
	}
	text, err := localeFiles.ReadFile("locales/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("templates: the catalogue of %s: %w", name, err)
	}
	if err := json.Unmarshal(text, &c.messages); err != nil {
		return nil, fmt.Errorf("templates: the catalogue of %s: %w", name, err)
	}
	return c, nil
}

// text is the sentence that the key stands for, or the key.
func (c *catalogue) text(key string) string {
	if m, ok := c.messages[key]; ok {
		return m[otherForm]
	}
	return key
}

// translate fills the arguments, as name and value, into the sentence. With HTML
// among them, which only functions of this package make, the rest is escaped here;
// else html/template does it. No catalogue brings markup.
func (c *catalogue) translate(key string, pairs ...any) (any, error) { return fill(c.text(key), pairs) }

// count is translate for a number, {n}: one is its English singular, other the rest
// and the key.
func (c *catalogue) count(n int, one, other string, pairs ...any) (any, error) {
	sentence := other
	if m, ok := c.messages[other]; ok {
		if sentence, ok = m[c.pluralForm(n)]; !ok {
			sentence = m[otherForm]
		}
	} else if n == 1 {
		sentence = one
	}
	return fill(sentence, append(pairs, "n", strconv.Itoa(n)))
}

func (c *catalogue) pluralForm(n int) string {
	switch plural.Cardinal.MatchPlural(c.tag, n, 0, 0, 0, 0) {
	case plural.Zero:
		return "zero"
	case plural.One:
		return "one"
	case plural.Two:
		return "two"
	case plural.Few:
		return "few"
	case plural.Many:
		return "many"
	}
	return otherForm
}

func fill(sentence string, pairs []any) (any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("templates: %q has an argument without a value", sentence)
	}
	markup := false
	for i := 1; i < len(pairs); i += 2 {
		_, isHTML := pairs[i].(template.HTML)
		markup = markup || isHTML
	}
	if markup {
		sentence = template.HTMLEscapeString(sentence)
	}
	replacements := make([]string, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		replacements[i] = "{" + fmt.Sprint(pairs[i]) + "}"
		value, isHTML := pairs[i+1].(template.HTML)
		if !isHTML && markup {
			value = template.HTML(template.HTMLEscapeString(fmt.Sprint(pairs[i+1]))) //nolint:gosec // escaped
		} else if !isHTML {
			value = template.HTML(fmt.Sprint(pairs[i+1])) //nolint:gosec // becomes a string again below
		}
		replacements[i+1] = string(value)
	}
	filled := replace(sentence, replacements)
	if markup {
		return template.HTML(filled), nil //nolint:gosec // every part is escaped
	}
	return filled, nil
}

// Fill puts the values in the place of their {names} in an English sentence.
func Fill(sentence string, values map[string]string) string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return replace(sentence, pairs)
}

// replace puts the values in the place of the names, in pairs. Nearly every sentence has
// one, for which a Replacer is not worth making.
func replace(sentence string, pairs []string) string {
	if len(pairs) == 2 {
		return strings.ReplaceAll(sentence, pairs[0], pairs[1])
	}
	return strings.NewReplacer(pairs...).Replace(sentence)
}

// say is a sentence that the server's Go code gave a page, with the values that it
// gave it.
func (c *catalogue) say(sentence string, values ...map[string]string) string {
	sentence = c.text(sentence)
	for _, v := range values {
		sentence = Fill(sentence, v)
	}
	return CleanText(sentence, 400)
}

// activity is an event in words.
func (c *catalogue) activity(a Activity) (string, error) {
	app, server := any(CleanText(a.App, 64)), c.ownName(a.Identity, a.Administration)
	var err error
	switch {
	case a.App == "":
		app = c.text("an application that is gone")
	case a.Unverified:
		app, err = c.translate("an unverified application, which calls itself “{name}”,", "name", app)
	}
	if server == "" {
		server = cmp.Or(CleanText(a.Server, 64), c.text("an MCP server that is gone"))
	}
	return c.say(a.Text, map[string]string{"app": fmt.Sprint(app), "server": server}), err
}

// ownName is what is called so within a sentence, "" for an MCP server.
func (c *catalogue) ownName(identity, administration bool) string {
	switch {
	case identity:
		return c.text("your identity")
	case administration:
		return c.text("the administration of this server")
	}
	return ""
}

// server is what a client asks to use, as it stands in a sentence.
func (c *catalogue) server(r ConsentResource) string {
	return cmp.Or(c.ownName(r.Identity, r.Administration), CleanText(r.Name, 64), address(r.Host), c.text("an MCP server"))
}

// lifetime says a number of days in words, "" when there are none.
func (c *catalogue) lifetime(days int) (any, error) {
	switch {
	case days <= 0:
		return "", nil
	case days%365 == 0:
		return c.count(days/365, "{n} year", "{n} years")
	default:
		return c.count(days, "{n} day", "{n} days")
	}
}

// moment is a time, to the minute.
func (c *catalogue) moment(t time.Time) (any, error) {
	t = t.UTC()
	day := strconv.Itoa(t.Day())
	if c.language == "fr" && t.Day() == 1 {
		day = "1er"
	}
	return c.translate("{day} {month} {year}, {time} UTC", "day", day, "month", c.text(t.Month().String()), "year", strconv.Itoa(t.Year()), "time", t.Format("15:04"))
}

// when is a time as an element, to stand in a sentence.
func (c *catalogue) when(t time.Time) (template.HTML, error) {
	words, err := c.moment(t)
	return element("time", ` datetime="`+datetime(t)+`"`, words), err
}

func datetime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// element wraps a value for a sentence.
func element(tag, attributes string, value any) template.HTML {
	content, isHTML := value.(template.HTML)
	if !isHTML {
		content = template.HTML(template.HTMLEscapeString(fmt.Sprint(value))) //nolint:gosec // escaped
	}
	return template.HTML("<"+tag+attributes+">") + content + template.HTML("</"+tag+">") //nolint:gosec // tag and attributes are of this package
}

// functions are those of this language, for the templates.
func (c *catalogue) functions() template.FuncMap {
	return template.FuncMap{
		"t": c.translate, "n": c.count, "say": c.say, "activity": c.activity, "lifetime": c.lifetime, "moment": c.moment, "when": c.when,
		"server":   c.server,
		"language": func() string { return c.language },
		"bdi":      func(v any) template.HTML { return element("bdi", "", v) },
		"strong":   func(v any) template.HTML { return element("bdi", ` class="strong"`, v) },
		"host":     func(v string) template.HTML { return element("span", ` class="host"`, address(v)) },
	}
}
