package admin

import (
	"context"
	"errors"
	"net/mail"
	"slices"
	"time"

	"grantd/api"
	"grantd/storage"
)

const usersPath = "/admin/v1/users/"

const usernameTaken = "There is a user with this username already."

// The bounds of a user's fields. Passwords are bounded in bytes; there are no
// rules about what they are made of (NIST SP 800-63B §3.1.1.2).
const (
	maxUsername = 128
	maxEmail    = 254
	maxGroups   = 100
	maxGroup    = 128
	minPassword = 8
	maxPassword = 1024
)

func (h *handlers) ListUsers(ctx context.Context, request api.ListUsersRequestObject) (api.ListUsersResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixUser)
	if err != nil {
		return nil, err
	}
	users, err := h.selectUsers(ctx, request.Params, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(users, page, func(u *storage.User) string { return u.ID }, showUser)
	return api.ListUsers200JSONResponse{Items: items, NextCursor: next}, nil
}

// selectUsers reads the users that the filters leave.
func (h *handlers) selectUsers(ctx context.Context, params api.ListUsersParams, page storage.Page) ([]*storage.User, error) {
	var f faults
	f.text("?username", params.Username, maxUsername)
	f.text("?group", params.Group, maxGroup)
	if err := f.err(); err != nil {
		return nil, err
	}
	filter := storage.UserFilter{Group: params.Group, Disabled: params.Disabled}
	if params.Username == "" {
		return h.store.Users(ctx, filter, page)
	}
	u, err := h.store.UserByUsername(ctx, params.Username)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !filter.Leaves(u) {
		return nil, nil
	}
	return []*storage.User{u}, err
}

func (h *handlers) CreateUser(ctx context.Context, request api.CreateUserRequestObject) (api.CreateUserResponseObject, error) {
	now := h.now()
	u := &storage.User{CreatedAt: now, UpdatedAt: now}
	if err := setUser(u, *request.Body).err(); err != nil {
		return nil, err
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixUser, key, "createUser", request.Body)
	if err != nil {
		return nil, err
	}
	u.ID = id
	made, replayed, err := once(key, func() (*storage.User, error) { return h.store.User(ctx, id) },
		func() (*storage.User, error) { return u, h.createUser(ctx, u, request.Body.Password) })
	if err != nil {
		return nil, taken(err, usernameTaken)
	}
	return api.CreateUser201JSONResponse{Body: showUser(made), Headers: api.CreateUser201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: usersPath + id,
	}}, nil
}

func (h *handlers) createUser(ctx context.Context, u *storage.User, password *string) error {
	if password != nil {
		hash, err := h.hashPassword(ctx, *password)
		if err != nil {
			return err
		}
		u.PasswordHash = hash
	}
	after := userFields(u)
	after.Password = password
	event, _, err := userChanges(h.event(ctx, "user.created", u.ID), api.UserFields{}, after)
	if err != nil {
		return err
	}
	return h.store.CreateUser(ctx, u, event)
}

func (h *handlers) GetUser(ctx context.Context, request api.GetUserRequestObject) (api.GetUserResponseObject, error) {
	u, err := h.user(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	identities, err := h.store.UserIdentities(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	shown := showUser(u)
	for _, i := range identities {
		shown.Identities = append(shown.Identities, api.UserIdentity{Issuer: i.Issuer, Subject: i.Subject, ProviderID: i.ProviderID, VerifiedAt: i.VerifiedAt.UTC()})
	}
	return api.GetUser200JSONResponse{Body: shown, Headers: api.GetUser200ResponseHeaders{ETag: etag(u.Version)}}, nil
}

func (h *handlers) UpdateUser(ctx context.Context, request api.UpdateUserRequestObject) (api.UpdateUserResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var hash string // made once, even when the update is repeated
	var u *storage.User
	err = retryConflicts(func() error {
		var err error
		if u, err = h.user(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, u.Version); err != nil {
			return err
		}
		return h.updateUser(ctx, u, sent, &hash)
	})
	if err != nil {
		return nil, taken(err, usernameTaken)
	}
	return api.UpdateUser200JSONResponse{Body: showUser(u), Headers: api.UpdateUser200ResponseHeaders{ETag: etag(u.Version)}}, nil
}

// updateUser changes u by the patch and writes it. A patch that changes nothing
// writes nothing; a password is a change even when it is the old one.
func (h *handlers) updateUser(ctx context.Context, u *storage.User, sent patch, hash *string) error {
	before := userFields(u)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	if err := setUser(u, merged).err(); err != nil {
		return err
	}
	after := userFields(u)
	if merged.Password != nil {
		if err := h.mayHavePassword(ctx, u); err != nil {
			return err
		}
		if *hash == "" {
			if *hash, err = h.hashPassword(ctx, *merged.Password); err != nil {
				return err
			}
		}
		u.PasswordHash, after.Password = *hash, merged.Password
	} else if _, cleared := sent["password"]; cleared && u.PasswordHash != "" {
		u.PasswordHash, after.Password = "", new(string)
	}
	event, changed, err := userChanges(h.event(ctx, "user.updated", u.ID), before, after)
	if err != nil || !changed {
		return err
	}
	u.UpdatedAt = event.At
	return h.store.UpdateUser(ctx, u, event)
}

// mayHavePassword refuses a password for somebody whom a provider vouches for: they
// would stay when they have left there. Who has no provider any more becomes local.
func (h *handlers) mayHavePassword(ctx context.Context, u *storage.User) error {
	if u.VerifiedUntil.IsZero() {
		return nil
	}
	identities, err := h.store.UserIdentities(ctx, u.ID)
	if err != nil {
		return err
	}
	if len(identities) > 0 {
		return faults{{Pointer: "/password", Detail: "cannot be set: the user signs in with an identity provider"}}.err()
	}
	u.VerifiedUntil = time.Time{}
	return nil
}

func (h *handlers) DeleteUser(ctx context.Context, request api.DeleteUserRequestObject) (api.DeleteUserResponseObject, error) {
	if err := checkID(storage.PrefixUser, request.ID); err != nil {
		return nil, err
	}
	read := func() (*storage.User, error) { return h.store.User(ctx, request.ID) }
	err := deleteMatching(request.Params.IfMatch, read, func(u *storage.User) int64 { return u.Version }, func(version int64) error {
		return h.store.DeleteUser(ctx, request.ID, version, h.event(ctx, "user.deleted", request.ID))
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteUser204Response{}, nil
}

// user reads a user by id. ErrNotFound.
func (h *handlers) user(ctx context.Context, id string) (*storage.User, error) {
	if err := checkID(storage.PrefixUser, id); err != nil {
		return nil, err
	}
	return h.store.User(ctx, id)
}

// setUser sets every field of u that an admin may, except the password, and
// returns all that is wrong with them, the password included.
func setUser(u *storage.User, fields api.UserFields) faults {
	var f faults
	if fields.Username == "" {
		f.add("/username", "must not be empty")
	}
	f.text("/username", fields.Username, maxUsername)
	f.text("/name", fields.Name, storage.MaxText)
	f.email("/email", fields.Email)
	f.texts("/groups", fields.Groups, maxGroups, maxGroup)
	if p := fields.Password; p != nil && (len(*p) < minPassword || len(*p) > maxPassword) {
		f.add("/password", "must have 8 to 1024 bytes")
	}
	u.Username, u.Name, u.Email, u.Disabled = fields.Username, fields.Name, fields.Email, fields.Disabled
	u.Groups = slices.Sorted(slices.Values(fields.Groups))
	return f
}

// email wants a plausible address, or nothing. Only a message could prove more.
func (f *faults) email(pointer, value string) {
	if value == "" {
		return
	}
	address, err := mail.ParseAddress(value)
	if err != nil || address.Address != value || len(value) > maxEmail {
		f.add(pointer, "must be an email address")
		return
	}
	f.text(pointer, value, maxEmail)
}

// userFields are what setUser would have to be given to make u.
func userFields(u *storage.User) api.UserFields {
	return api.UserFields{Username: u.Username, Email: u.Email, Name: u.Name, Groups: u.Groups, Disabled: u.Disabled}
}

// userChanges is withChanges with only the names of the fields that are secret,
// and of those that are personal and would outlive the user in an append-only
// log.
func userChanges(e storage.AuditEvent, before, after api.UserFields) (storage.AuditEvent, bool, error) {
	return withChanges(e, before, after, "password", "email", "name")
}

func showUser(u *storage.User) api.User {
	return api.User{
		ID:            u.ID,
		Username:      u.Username,
		Email:         u.Email,
		Name:          u.Name,
		Groups:        list(u.Groups),
		HasPassword:   u.PasswordHash != "",
		Disabled:      u.Disabled,
		VerifiedUntil: optionalTime(u.VerifiedUntil),
		CreatedAt:     u.CreatedAt.UTC(),
		UpdatedAt:     u.UpdatedAt.UTC(),
	}
}
