package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Item is one thing to write.
type Item struct {
	Fields map[string]any
	// Comments stand behind a field.
	Comments map[string]string
}

// Write writes the list of a kind, if it has items, in the order in which they are
// given. The key comes first, then the other fields by name. A value is written as
// YAML's flow style, which is JSON but for quotes that are not needed; only lists of
// things with fields take a line for each.
func Write(w io.Writer, k *Kind, items []Item) error {
	if len(items) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", k.List)
	for _, item := range items {
		names := slices.Sorted(maps.Keys(item.Fields))
		if at := slices.Index(names, k.Key); at >= 0 {
			names = slices.Insert(slices.Delete(names, at, at+1), 0, k.Key)
		}
		indent := "  - "
		for _, name := range names {
			comment := ""
			if text := item.Comments[name]; text != "" {
				comment = " # " + text
			}
			list, _ := item.Fields[name].([]any)
			if len(list) > 0 && isObject(list[0]) {
				fmt.Fprintf(&b, "%s%s:%s\n", indent, name, comment)
				for _, element := range list {
					fmt.Fprintf(&b, "      - %s\n", flow(element))
				}
			} else {
				fmt.Fprintf(&b, "%s%s: %s%s\n", indent, name, flow(item.Fields[name]), comment)
			}
			indent = "    "
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// flow is a value in one line.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		return text(v)
	case []any:
		all := make([]string, len(v))
		for i, item := range v {
			all[i] = flow(item)
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		if at := slices.Index(names, "name"); at > 0 { // what a thing is called is what people look for
			names = slices.Insert(slices.Delete(names, at, at+1), 0, "name")
		}
		all := make([]string, len(names))
		for i, name := range names {
			all[i] = text(name) + ": " + flow(v[name])
		}
		return "{" + strings.Join(all, ", ") + "}"
	}
	return inJSON(v)
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*(?: [A-Za-z][A-Za-z0-9_./-]*)*$`)
	// reserved are texts that some reader of YAML takes for something else.
	reserved = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
)

// text is a text without quotes where nobody can take it for anything else.
func text(s string) string {
	if plainText.MatchString(s) && !slices.Contains(reserved, strings.ToLower(s)) {
		return s
	}
	return inJSON(s)
}

func inJSON(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(fmt.Sprintf("manifest: %T: %v", v, err)) // it was decoded from JSON
	}
	var escaped strings.Builder
	for _, c := range strings.TrimSuffix(b.String(), "\n") {
		if c >= 0x7f && c <= 0xffff && !unicode.IsPrint(c) { // which YAML has other rules for than JSON
			fmt.Fprintf(&escaped, `\u%04x`, c)
		} else {
			escaped.WriteRune(c)
		}
	}
	return escaped.String()
}
