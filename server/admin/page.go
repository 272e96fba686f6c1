package admin

import (
	"grantd/storage"
)

// The sizes of a page of a list, in items.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// pageOf reads the paging parameters of a list whose ids have that prefix. It
// asks for one item more than the page has, to see whether there is a next one.
func pageOf(cursor string, limit *int, prefix string) (storage.Page, error) {
	page := storage.Page{After: cursor, Limit: defaultLimit + 1}
	var f faults
	if limit != nil {
		if *limit < 1 || *limit > maxLimit {
			f.add("?limit", "must be between 1 and 200")
		}
		page.Limit = *limit + 1
	}
	if cursor != "" && prefix != "" && checkID(prefix, cursor) != nil {
		f.add("?cursor", "is not the next_cursor of a page of this list")
	}
	return page, f.err()
}

// cut turns what the store answered into the items of the page and its
// next_cursor, which is empty on the last page.
func cut[T, J any](rows []*T, page storage.Page, id func(*T) string, show func(*T) J) (items []J, next string) {
	if len(rows) == page.Limit {
		rows = rows[:page.Limit-1]
		next = id(rows[len(rows)-1])
	}
	items = make([]J, len(rows))
	for i, row := range rows {
		items[i] = show(row)
	}
	return items, next
}
