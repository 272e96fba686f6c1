package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"grantd/storage"
)

// maxScopeName bounds the name of a scope, in bytes.
const maxScopeName = 128

// at is the pointer to one item of a list.
func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// text wants at most limit characters that people can see, on one line. Empty is
// fine.
func (f *faults) text(pointer, value string, limit int) {
	switch {
	case utf8.RuneCountInString(value) > limit:
		f.add(pointer, fmt.Sprintf("must have at most %d characters", limit))
	case strings.ContainsFunc(value, storage.Invisible):
		f.add(pointer, "must not have control or invisible characters")
	case strings.TrimSpace(value) != value:
		f.add(pointer, "must not begin or end with a space")
	}
}

// texts is text for each of at most items values, none of them empty or twice.
func (f *faults) texts(pointer string, values []string, items, limit int) {
	if !f.count(pointer, len(values), items) {
		return
	}
	for i, value := range values {
		if value == "" {
			f.add(at(pointer, i), "must not be empty")
		}
		f.text(at(pointer, i), value, limit)
	}
	f.unique(pointer, values)
}

// count reports whether a list is short enough to look at its items.
func (f *faults) count(pointer string, n, limit int) bool {
	if n > limit {
		f.add(pointer, fmt.Sprintf("must have at most %d items", limit))
		return false
	}
	return true
}

func (f *faults) unique(pointer string, values []string) {
	for i, value := range values {
		if slices.Contains(values[:i], value) {
			f.add(at(pointer, i), "is there more than once")
		}
	}
}

func (f *faults) oneOf(pointer, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.add(pointer, "must be one of: "+strings.Join(allowed, ", "))
	}
}

// httpsURI wants an absolute https URI, or nothing.
func (f *faults) httpsURI(pointer, value string) {
	if err := storage.ValidateWebPage(value); err != nil {
		f.add(pointer, err.Error())
	}
}
