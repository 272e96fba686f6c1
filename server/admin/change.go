package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"grantd/server/web"
	"grantd/storage"
)

// patch is a JSON merge patch of a flat object (RFC 7396), by field.
type patch map[string]json.RawMessage

// applyPatch returns current with the patch's fields replaced; a field that the
// patch sets to null is as if it had never been sent.
func applyPatch[T any](current T, p patch) (T, error) {
	var merged T
	fields, err := fieldsOf(current)
	if err != nil {
		return merged, err
	}
	for name, value := range p {
		if string(value) == "null" {
			delete(fields, name)
		} else {
			fields[name] = value
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return merged, err
	}
	return merged, json.Unmarshal(raw, &merged)
}

// maxAuditValue bounds one value in an audit event, in bytes. It is as long as the
// longest lists of scopes and groups, so that the events tell who had access.
const maxAuditValue = 64 << 10

// event is the audit event of an act on target.
func (h *handlers) event(ctx context.Context, action, target string) storage.AuditEvent {
	e := storage.NewAuditEvent(h.now(), actor(ctx), action, target)
	if id := web.RequestID(ctx); id != "" {
		e = e.With("request_id", id)
	}
	// A name may come back for another key, an id never.
	if key := callerOf(ctx).keyID; key != "" {
		e = e.With("admin_key_id", key)
	}
	return e
}

// withChanges adds to the event which fields differ between before and after,
// and their new values, except those of the withheld ones. changed is false when
// nothing differs.
func withChanges(e storage.AuditEvent, before, after any, withheld ...string) (_ storage.AuditEvent, changed bool, err error) {
	was, err := fieldsOf(before)
	if err != nil {
		return e, false, err
	}
	is, err := fieldsOf(after)
	if err != nil {
		return e, false, err
	}
	all := maps.Clone(was)
	maps.Copy(all, is)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if bytes.Equal(was[name], is[name]) {
			continue
		}
		names = append(names, name)
		if !slices.Contains(withheld, name) {
			e = e.With(name, auditValue(is[name]))
		}
	}
	return e.With("changed", strings.Join(names, " ")), len(names) > 0, nil
}

// auditValue shows a string as it is and anything else as JSON.
func auditValue(raw json.RawMessage) string {
	value := string(raw)
	var text string
	if json.Unmarshal(raw, &text) == nil {
		value = text
	}
	if len(value) > maxAuditValue {
		value = strings.ToValidUTF8(value[:maxAuditValue], "") + "…"
	}
	return value
}

// fieldsOf takes a struct apart into those of its JSON fields that are set. Of a
// decoded patch body these are the fields that were sent.
func fieldsOf(v any) (patch, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var fields patch
	return fields, json.Unmarshal(raw, &fields)
}
