package admin

import (
	"net/http"
	"strconv"
	"strings"

	"grantd/server/web"
	"grantd/storage"
)

// etag names a version of an object (RFC 9110 §8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// deleteMatching deletes what the If-Match header, if there is one, names. What is
// deleted is the version that was read, whatever comes between.
func deleteMatching[T any](ifMatch string, read func() (*T, error), version func(*T) int64, remove func(version int64) error) error {
	if ifMatch == "" {
		return remove(storage.AnyVersion)
	}
	return retryConflicts(func() error {
		row, err := read()
		if err != nil {
			return err
		}
		if err := checkIfMatch(ifMatch, version(row)); err != nil {
			return err
		}
		return remove(version(row))
	})
}

// checkIfMatch refuses with 412 unless the If-Match header, if there is one,
// names this version (RFC 9110 §13.1.1). The update itself is conditional on the
// version too, so nothing comes between.
func checkIfMatch(sent string, version int64) error {
	if sent == "" {
		return nil
	}
	for tag := range strings.SplitSeq(sent, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == etag(version) {
			return nil
		}
	}
	return &web.Error{
		Status: http.StatusPreconditionFailed, Code: "changed",
		Message: "Somebody else has changed this in the meantime. Read it again, then decide.",
	}
}
