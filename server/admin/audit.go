package admin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"grantd/api"
	"grantd/server/audit"
	"grantd/storage"
)

// Chain is the audit chain.
type Chain interface {
	Head(ctx context.Context) (head audit.Head, unsealed int, err error)
	Verify(ctx context.Context, after int64, head *audit.Head) (*audit.Report, error)
	Access(ctx context.Context, at time.Time, filter audit.AccessFilter) (all []*audit.Access, complete bool, err error)
	Erase(ctx context.Context, userID string) (events int, err error)
}

const (
	orderNewest = "newest"
	orderChain  = "chain"
)

func (h *handlers) ListAuditEvents(ctx context.Context, request api.ListAuditEventsRequestObject) (api.ListAuditEventsResponseObject, error) {
	params := request.Params
	if params.Order == orderChain {
		return h.listChain(ctx, params)
	}
	page, err := pageOf(params.Cursor, params.Limit, storage.PrefixAuditEvent)
	if err != nil {
		return nil, err
	}
	var f faults
	if params.Order != "" && params.Order != "oldest" && params.Order != orderNewest {
		f.add("?order", "must be oldest, newest or chain")
	}
	for name, value := range map[string]string{"actor": params.Actor, "action": params.Action, "target": params.Target} {
		f.filter(name, value)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	filter := storage.AuditFilter{Actor: params.Actor, Action: params.Action, Target: params.Target, Newest: params.Order == orderNewest}
	if params.Since != nil {
		filter.Since = *params.Since
	}
	if params.Until != nil {
		filter.Until = *params.Until
	}
	events, err := h.store.AuditEvents(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(events, page, func(e *storage.AuditEvent) string { return e.ID }, showAuditEvent)
	return api.ListAuditEvents200JSONResponse{Items: items, NextCursor: next}, nil
}

// filter checks a text that is only compared.
func (f *faults) filter(name, value string) {
	if len(value) > storage.MaxURILength || strings.ContainsFunc(value, unicode.IsControl) {
		f.add("?"+name, "is too long, or has control characters")
	}
}

// listChain lists what is sealed in the order of the chain.
func (h *handlers) listChain(ctx context.Context, params api.ListAuditEventsParams) (api.ListAuditEventsResponseObject, error) {
	page, err := pageOf("", params.Limit, "")
	if err != nil {
		return nil, err
	}
	var f faults
	if params.Actor != "" || params.Action != "" || params.Target != "" || params.Since != nil || params.Until != nil {
		f.add("?order", "chain has all events: send no filter with it")
	}
	number, position, ok := chainPlace(params.Cursor)
	if !ok {
		f.add("?cursor", "is not the place of an event in the chain, as 12.3")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	events, err := h.store.SealedAuditEvents(ctx, number, position, page.Limit)
	if err != nil {
		return nil, err
	}
	items, next := cut(events, page, func(e *storage.AuditEvent) string {
		return strconv.FormatInt(e.Seal.Number, 10) + "." + strconv.Itoa(e.Seal.Position)
	}, showAuditEvent)
	return api.ListAuditEvents200JSONResponse{Items: items, NextCursor: next}, nil
}

// chainPlace reads SEAL.POSITION; nothing is before the first event.
func chainPlace(cursor string) (number int64, position int, ok bool) {
	if cursor == "" {
		return 0, 0, true
	}
	seal, place, _ := strings.Cut(cursor, ".")
	number, err := strconv.ParseInt(seal, 10, 64)
	parsed, placeErr := strconv.ParseInt(place, 10, 32)
	return number, int(parsed), err == nil && placeErr == nil && number >= 0 && parsed >= 0
}

func showAuditEvent(e *storage.AuditEvent) api.AuditEvent {
	detail := e.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	return api.AuditEvent{
		ID: e.ID, At: e.At.UTC(), Actor: e.Actor, Action: e.Action, Target: e.Target, Detail: detail,
		Seal: e.Seal.Number, Position: e.Seal.Position,
	}
}

func (h *handlers) GetAuditHead(ctx context.Context, _ api.GetAuditHeadRequestObject) (api.GetAuditHeadResponseObject, error) {
	head, unsealed, err := h.chain.Head(ctx)
	if err != nil {
		return nil, err
	}
	return api.GetAuditHead200JSONResponse{Head: head.String(), Seal: head.Seal, SealedAt: optionalTime(head.SealedAt), Unsealed: unsealed}, nil
}

func (h *handlers) VerifyAudit(ctx context.Context, request api.VerifyAuditRequestObject) (api.VerifyAuditResponseObject, error) {
	var f faults
	var after int64
	var err error
	if cursor := request.Params.Cursor; cursor != "" {
		if after, err = strconv.ParseInt(cursor, 10, 64); err != nil || after < 0 {
			f.add("?cursor", "is not the next_cursor of a part of the chain")
		}
	}
	var kept *audit.Head
	if text := request.Params.Head; text != "" {
		head, err := audit.ParseHead(text)
		if err != nil {
			f.add("?head", "is not the head of an audit chain")
		}
		kept = &head
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	r, err := h.chain.Verify(ctx, after, kept)
	if err != nil {
		return nil, err
	}
	shown := api.VerifyAudit200JSONResponse{
		Seals: r.Seals, Events: r.Events, Removed: r.Removed, Erased: r.Erased, Unsealed: r.Unsealed, Faults: []api.AuditFault{},
	}
	if r.Next != 0 {
		shown.NextCursor = strconv.FormatInt(r.Next, 10)
	} else {
		shown.Head = r.Head.String()
	}
	for _, fault := range r.Faults {
		shown.Faults = append(shown.Faults, api.AuditFault{
			Kind: fault.Kind, Seal: fault.Seal, Position: fault.Position, EventID: fault.EventID, Detail: fault.Message,
		})
	}
	return shown, nil
}

func (h *handlers) ListAuditAccess(ctx context.Context, request api.ListAuditAccessRequestObject) (api.ListAuditAccessResponseObject, error) {
	params := request.Params
	page, err := pageOf("", params.Limit, "")
	if err != nil {
		return nil, err
	}
	var f faults
	for name, value := range map[string]string{"user_id": params.UserID, "client_id": params.ClientID, "resource_id": params.ResourceID, "cursor": params.Cursor} {
		f.filter(name, value)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	client, err := h.clientFilter(ctx, params.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		client, err = params.ClientID, nil // nothing is of it
	}
	if err != nil {
		return nil, err
	}
	all, complete, err := h.chain.Access(ctx, params.At, audit.AccessFilter{UserID: params.UserID, ClientID: client, ResourceID: params.ResourceID})
	if err != nil {
		return nil, err
	}
	from, _ := slices.BinarySearchFunc(all, params.Cursor+"\x00", func(a *audit.Access, key string) int { return strings.Compare(a.Key(), key) })
	if params.Cursor == "" {
		from = 0
	}
	all = all[from:]
	items, next := cut(all[:min(len(all), page.Limit)], page, (*audit.Access).Key, showAccess)
	return api.ListAuditAccess200JSONResponse{Items: items, NextCursor: next, Complete: complete}, nil
}

func showAccess(a *audit.Access) api.AuditAccess {
	return api.AuditAccess{
		UserID: a.UserID, Username: a.Username, ClientID: a.ClientID, ClientName: a.ClientName,
		ResourceID: a.ResourceID, ResourceURI: a.ResourceURI, Scopes: list(a.Scopes), Policies: list(a.Policies),
		ApprovedAt: a.ApprovedAt.UTC(), EventID: a.EventID,
	}
}

// EraseUser deletes first, so that nothing new is written of the user while what
// was written is erased.
func (h *handlers) EraseUser(ctx context.Context, request api.EraseUserRequestObject) (api.EraseUserResponseObject, error) {
	id := request.ID
	if err := checkID(storage.PrefixUser, id); err != nil {
		return nil, err
	}
	err := h.store.DeleteUser(ctx, id, storage.AnyVersion, h.event(ctx, "user.deleted", id))
	if errors.Is(err, storage.ErrNotFound) {
		var known []*storage.AuditEvent
		known, err = h.store.AuditEvents(ctx, storage.AuditFilter{Target: id}, storage.Page{Limit: 1})
		if err == nil && len(known) == 0 {
			err = storage.ErrNotFound
		}
	}
	if err != nil {
		return nil, err
	}
	n := 0
	err = retryConflicts(func() error { // another replica seals at the same time
		more, err := h.chain.Erase(ctx, id)
		n += more
		return err
	})
	if err != nil {
		return nil, err
	}
	if n > 0 {
		if err := h.store.RecordAuditEvent(ctx, h.event(ctx, "user.erased", id).With("events", strconv.Itoa(n))); err != nil {
			return nil, err
		}
	}
	return api.EraseUser200JSONResponse{UserID: id, Events: n}, nil
}
