package storagetest

import (
	"context"
	"time"

	"grantd/storage"
)

// recorder notes which methods are called. A method that Store gains is promoted
// from the embedded Store unnoticed, and so fails the suite until it is here and
// has its contract.
type recorder struct {
	storage.Store
	seen *methods
}

func (r *recorder) CreateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	r.seen.call("CreateClient")
	return r.Store.CreateClient(ctx, c, event)
}

func (r *recorder) FoldClient(ctx context.Context, reg *storage.Registration, renewBefore time.Time) (bool, error) {
	r.seen.call("FoldClient")
	return r.Store.FoldClient(ctx, reg, renewBefore)
}

func (r *recorder) CreateDynamicClient(ctx context.Context, reg *storage.Registration, event storage.AuditEvent) (bool, error) {
	r.seen.call("CreateDynamicClient")
	return r.Store.CreateDynamicClient(ctx, reg, event)
}

func (r *recorder) UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	r.seen.call("UpdateDynamicClient")
	return r.Store.UpdateDynamicClient(ctx, c, event)
}

func (r *recorder) CreateInitialAccessToken(ctx context.Context, token *storage.InitialAccessToken, event storage.AuditEvent) error {
	r.seen.call("CreateInitialAccessToken")
	return r.Store.CreateInitialAccessToken(ctx, token, event)
}

func (r *recorder) InitialAccessTokens(ctx context.Context, page storage.Page) ([]*storage.InitialAccessToken, error) {
	r.seen.call("InitialAccessTokens")
	return r.Store.InitialAccessTokens(ctx, page)
}

func (r *recorder) InitialAccessToken(ctx context.Context, id string) (*storage.InitialAccessToken, error) {
	r.seen.call("InitialAccessToken")
	return r.Store.InitialAccessToken(ctx, id)
}

func (r *recorder) CreateAdminKey(ctx context.Context, k *storage.AdminKey, event storage.AuditEvent) error {
	r.seen.call("CreateAdminKey")
	return r.Store.CreateAdminKey(ctx, k, event)
}

func (r *recorder) AdminKey(ctx context.Context, id string) (*storage.AdminKey, error) {
	r.seen.call("AdminKey")
	return r.Store.AdminKey(ctx, id)
}

func (r *recorder) AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error) {
	r.seen.call("AdminKeyByHash")
	return r.Store.AdminKeyByHash(ctx, hash)
}

func (r *recorder) AdminKeys(ctx context.Context, page storage.Page) ([]*storage.AdminKey, error) {
	r.seen.call("AdminKeys")
	return r.Store.AdminKeys(ctx, page)
}

func (r *recorder) TouchAdminKey(ctx context.Context, id string, now time.Time) error {
	r.seen.call("TouchAdminKey")
	return r.Store.TouchAdminKey(ctx, id, now)
}

func (r *recorder) DeleteAdminKey(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("DeleteAdminKey")
	return r.Store.DeleteAdminKey(ctx, id, event)
}

func (r *recorder) AdminTokenLive(ctx context.Context, jti, familyID string, now time.Time) (bool, storage.Standing, error) {
	r.seen.call("AdminTokenLive")
	return r.Store.AdminTokenLive(ctx, jti, familyID, now)
}

func (r *recorder) DeleteInitialAccessToken(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("DeleteInitialAccessToken")
	return r.Store.DeleteInitialAccessToken(ctx, id, event)
}

func (r *recorder) Client(ctx context.Context, id string) (*storage.Client, error) {
	r.seen.call("Client")
	return r.Store.Client(ctx, id)
}

func (r *recorder) ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error) {
	r.seen.call("ClientByClientID")
	return r.Store.ClientByClientID(ctx, clientID)
}

func (r *recorder) Clients(ctx context.Context, filter storage.ClientFilter, page storage.Page) ([]*storage.Client, error) {
	r.seen.call("Clients")
	return r.Store.Clients(ctx, filter, page)
}

func (r *recorder) UpdateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	r.seen.call("UpdateClient")
	return r.Store.UpdateClient(ctx, c, event)
}

func (r *recorder) UpdateClientDocument(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	r.seen.call("UpdateClientDocument")
	return r.Store.UpdateClientDocument(ctx, c, event)
}

func (r *recorder) ConfirmClientDocument(ctx context.Context, id string, fetchedAt time.Time) error {
	r.seen.call("ConfirmClientDocument")
	return r.Store.ConfirmClientDocument(ctx, id, fetchedAt)
}

func (r *recorder) DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeleteClient")
	return r.Store.DeleteClient(ctx, id, version, event)
}

func (r *recorder) ClientBySecret(ctx context.Context, hash []byte) (*storage.Client, error) {
	r.seen.call("ClientBySecret")
	return r.Store.ClientBySecret(ctx, hash)
}

func (r *recorder) RotateClientSecret(ctx context.Context, id string, secret storage.ClientSecret, until time.Time, event storage.AuditEvent) error {
	r.seen.call("RotateClientSecret")
	return r.Store.RotateClientSecret(ctx, id, secret, until, event)
}

func (r *recorder) NoteClientsUsed(ctx context.Context, ids []string, at time.Time) error {
	r.seen.call("NoteClientsUsed")
	return r.Store.NoteClientsUsed(ctx, ids, at)
}

func (r *recorder) RevokeCode(ctx context.Context, codeID string, event storage.AuditEvent) error {
	r.seen.call("RevokeCode")
	return r.Store.RevokeCode(ctx, codeID, event)
}

func (r *recorder) AddClientSecret(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error {
	r.seen.call("AddClientSecret")
	return r.Store.AddClientSecret(ctx, id, secret, event)
}

func (r *recorder) DeleteClientSecret(ctx context.Context, id, secretID string, event storage.AuditEvent) error {
	r.seen.call("DeleteClientSecret")
	return r.Store.DeleteClientSecret(ctx, id, secretID, event)
}

func (r *recorder) CreateResource(ctx context.Context, res *storage.Resource, event storage.AuditEvent) error {
	r.seen.call("CreateResource")
	return r.Store.CreateResource(ctx, res, event)
}

func (r *recorder) Resource(ctx context.Context, id string) (*storage.Resource, error) {
	r.seen.call("Resource")
	return r.Store.Resource(ctx, id)
}

func (r *recorder) ResourceByURI(ctx context.Context, uri string) (*storage.Resource, error) {
	r.seen.call("ResourceByURI")
	return r.Store.ResourceByURI(ctx, uri)
}

func (r *recorder) Resources(ctx context.Context, page storage.Page) ([]*storage.Resource, error) {
	r.seen.call("Resources")
	return r.Store.Resources(ctx, page)
}

func (r *recorder) UpdateResource(ctx context.Context, res *storage.Resource, event storage.AuditEvent) error {
	r.seen.call("UpdateResource")
	return r.Store.UpdateResource(ctx, res, event)
}

func (r *recorder) DeleteResource(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeleteResource")
	return r.Store.DeleteResource(ctx, id, version, event)
}

func (r *recorder) CreateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	r.seen.call("CreateUser")
	return r.Store.CreateUser(ctx, u, event)
}

func (r *recorder) User(ctx context.Context, id string) (*storage.User, error) {
	r.seen.call("User")
	return r.Store.User(ctx, id)
}

func (r *recorder) UserByUsername(ctx context.Context, username string) (*storage.User, error) {
	r.seen.call("UserByUsername")
	return r.Store.UserByUsername(ctx, username)
}

func (r *recorder) Users(ctx context.Context, filter storage.UserFilter, page storage.Page) ([]*storage.User, error) {
	r.seen.call("Users")
	return r.Store.Users(ctx, filter, page)
}

func (r *recorder) UpdateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	r.seen.call("UpdateUser")
	return r.Store.UpdateUser(ctx, u, event)
}

func (r *recorder) DeleteUser(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeleteUser")
	return r.Store.DeleteUser(ctx, id, version, event)
}

func (r *recorder) CreateSession(ctx context.Context, s *storage.Session, event storage.AuditEvent) error {
	r.seen.call("CreateSession")
	return r.Store.CreateSession(ctx, s, event)
}

func (r *recorder) SignIn(ctx context.Context, tokenHash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	r.seen.call("SignIn")
	return r.Store.SignIn(ctx, tokenHash, look, now)
}

func (r *recorder) UserSessions(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Session, error) {
	r.seen.call("UserSessions")
	return r.Store.UserSessions(ctx, userID, now, page)
}

func (r *recorder) UserFamilies(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Family, error) {
	r.seen.call("UserFamilies")
	return r.Store.UserFamilies(ctx, userID, now, page)
}

func (r *recorder) Grant(ctx context.Context, id string) (*storage.Grant, error) {
	r.seen.call("Grant")
	return r.Store.Grant(ctx, id)
}

func (r *recorder) UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*storage.AuditEvent, error) {
	r.seen.call("UserAuditEvents")
	return r.Store.UserAuditEvents(ctx, userID, before, limit)
}

func (r *recorder) CreateUserLink(ctx context.Context, l *storage.UserLink, event storage.AuditEvent) error {
	r.seen.call("CreateUserLink")
	return r.Store.CreateUserLink(ctx, l, event)
}

func (r *recorder) UserLink(ctx context.Context, tokenHash []byte, now time.Time) (*storage.UserLink, *storage.User, error) {
	r.seen.call("UserLink")
	return r.Store.UserLink(ctx, tokenHash, now)
}

func (r *recorder) UseUserLink(ctx context.Context, use storage.UserLinkUse, event storage.AuditEvent) error {
	r.seen.call("UseUserLink")
	return r.Store.UseUserLink(ctx, use, event)
}

func (r *recorder) UseFirstAdminLink(ctx context.Context, tokenHash []byte, u *storage.User, p *storage.Passkey, event storage.AuditEvent) error {
	r.seen.call("UseFirstAdminLink")
	return r.Store.UseFirstAdminLink(ctx, tokenHash, u, p, event)
}

func (r *recorder) DeleteUserLink(ctx context.Context, userID string, event storage.AuditEvent) error {
	r.seen.call("DeleteUserLink")
	return r.Store.DeleteUserLink(ctx, userID, event)
}

func (r *recorder) DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("DeleteSession")
	return r.Store.DeleteSession(ctx, id, event)
}

func (r *recorder) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	r.seen.call("Approve")
	return r.Store.Approve(ctx, a, event)
}

func (r *recorder) Grants(ctx context.Context, filter storage.GrantFilter, page storage.Page) ([]*storage.Grant, error) {
	r.seen.call("Grants")
	return r.Store.Grants(ctx, filter, page)
}

func (r *recorder) DeleteGrant(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("DeleteGrant")
	return r.Store.DeleteGrant(ctx, id, event)
}

func (r *recorder) CreateCode(ctx context.Context, c *storage.AuthorizationCode, sessionID string) error {
	r.seen.call("CreateCode")
	return r.Store.CreateCode(ctx, c, sessionID)
}

func (r *recorder) Code(ctx context.Context, id string) (*storage.AuthorizationCode, storage.Standing, error) {
	r.seen.call("Code")
	return r.Store.Code(ctx, id)
}

func (r *recorder) RedeemCode(ctx context.Context, codeID string, f *storage.Family) error {
	r.seen.call("RedeemCode")
	return r.Store.RedeemCode(ctx, codeID, f)
}

func (r *recorder) ExchangeCode(ctx context.Context, e storage.Exchange) (*storage.AuthorizationCode, storage.Standing, bool, error) {
	r.seen.call("ExchangeCode")
	return r.Store.ExchangeCode(ctx, e)
}

func (r *recorder) FailCode(ctx context.Context, codeID string) error {
	r.seen.call("FailCode")
	return r.Store.FailCode(ctx, codeID)
}

func (r *recorder) Family(ctx context.Context, id string) (*storage.Family, storage.Standing, error) {
	r.seen.call("Family")
	return r.Store.Family(ctx, id)
}

func (r *recorder) RotateFamily(ctx context.Context, rotation storage.Rotation) error {
	r.seen.call("RotateFamily")
	return r.Store.RotateFamily(ctx, rotation)
}

func (r *recorder) RenewFamily(ctx context.Context, renewal storage.Renewal) (*storage.Family, storage.Standing, bool, error) {
	r.seen.call("RenewFamily")
	return r.Store.RenewFamily(ctx, renewal)
}

func (r *recorder) EndFamily(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("EndFamily")
	return r.Store.EndFamily(ctx, id, event)
}

func (r *recorder) UseClientAssertion(ctx context.Context, clientID, jti string, expiresAt, now time.Time) error {
	r.seen.call("UseClientAssertion")
	return r.Store.UseClientAssertion(ctx, clientID, jti, expiresAt, now)
}

func (r *recorder) RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event storage.AuditEvent) error {
	r.seen.call("RevokeAccessToken")
	return r.Store.RevokeAccessToken(ctx, jti, expiresAt, event)
}

func (r *recorder) AccessTokenScopes(ctx context.Context, jti, familyID string, now time.Time) (bool, []string, error) {
	r.seen.call("AccessTokenScopes")
	return r.Store.AccessTokenScopes(ctx, jti, familyID, now)
}

func (r *recorder) AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (bool, storage.Standing, error) {
	r.seen.call("AccessTokenLive")
	return r.Store.AccessTokenLive(ctx, jti, familyID, now)
}

func (r *recorder) SigningKeys(ctx context.Context) ([]*storage.SigningKey, error) {
	r.seen.call("SigningKeys")
	return r.Store.SigningKeys(ctx)
}

func (r *recorder) MoveSigningKeys(ctx context.Context, m storage.KeyMove, event storage.AuditEvent) error {
	r.seen.call("MoveSigningKeys")
	return r.Store.MoveSigningKeys(ctx, m, event)
}

func (r *recorder) ResealSigningKey(ctx context.Context, kid string, was, sealed []byte, event storage.AuditEvent) error {
	r.seen.call("ResealSigningKey")
	return r.Store.ResealSigningKey(ctx, kid, was, sealed, event)
}

func (r *recorder) CreateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	r.seen.call("CreateGroup")
	return r.Store.CreateGroup(ctx, g, event)
}

func (r *recorder) Group(ctx context.Context, id string) (*storage.Group, error) {
	r.seen.call("Group")
	return r.Store.Group(ctx, id)
}

func (r *recorder) GroupByName(ctx context.Context, name string) (*storage.Group, error) {
	r.seen.call("GroupByName")
	return r.Store.GroupByName(ctx, name)
}

func (r *recorder) UpdateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	r.seen.call("UpdateGroup")
	return r.Store.UpdateGroup(ctx, g, event)
}

func (r *recorder) DeleteGroup(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeleteGroup")
	return r.Store.DeleteGroup(ctx, id, version, event)
}

func (r *recorder) AddGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	r.seen.call("AddGroupMember")
	return r.Store.AddGroupMember(ctx, id, userID, event)
}

func (r *recorder) RemoveGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	r.seen.call("RemoveGroupMember")
	return r.Store.RemoveGroupMember(ctx, id, userID, event)
}

func (r *recorder) Groups(ctx context.Context, page storage.Page) ([]*storage.Group, error) {
	r.seen.call("Groups")
	return r.Store.Groups(ctx, page)
}

func (r *recorder) ClaimIdempotencyKey(ctx context.Context, k *storage.IdempotencyKey, now time.Time) error {
	r.seen.call("ClaimIdempotencyKey")
	return r.Store.ClaimIdempotencyKey(ctx, k, now)
}

func (r *recorder) RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error {
	r.seen.call("RecordAuditEvent")
	return r.Store.RecordAuditEvent(ctx, event)
}

func (r *recorder) AuditEvents(ctx context.Context, filter storage.AuditFilter, page storage.Page) ([]*storage.AuditEvent, error) {
	r.seen.call("AuditEvents")
	return r.Store.AuditEvents(ctx, filter, page)
}

func (r *recorder) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	r.seen.call("CreatePushedRequest")
	return r.Store.CreatePushedRequest(ctx, p, maxKept)
}

func (r *recorder) PushedRequest(ctx context.Context, id string) (*storage.PushedRequest, error) {
	r.seen.call("PushedRequest")
	return r.Store.PushedRequest(ctx, id)
}

func (r *recorder) DenyPushedRequest(ctx context.Context, denied *storage.AuthorizationCode) error {
	r.seen.call("DenyPushedRequest")
	return r.Store.DenyPushedRequest(ctx, denied)
}

func (r *recorder) CreateDeviceAuthorization(ctx context.Context, d *storage.DeviceAuthorization, caps storage.DeviceCaps) error {
	r.seen.call("CreateDeviceAuthorization")
	return r.Store.CreateDeviceAuthorization(ctx, d, caps)
}

func (r *recorder) DeviceAuthorization(ctx context.Context, id string) (*storage.DeviceAuthorization, storage.Standing, error) {
	r.seen.call("DeviceAuthorization")
	return r.Store.DeviceAuthorization(ctx, id)
}

func (r *recorder) PendingDeviceAuthorization(ctx context.Context, userCodeHashes [][]byte, now time.Time) (*storage.DeviceAuthorization, error) {
	r.seen.call("PendingDeviceAuthorization")
	return r.Store.PendingDeviceAuthorization(ctx, userCodeHashes, now)
}

func (r *recorder) PollDeviceAuthorization(ctx context.Context, p storage.DevicePoll) error {
	r.seen.call("PollDeviceAuthorization")
	return r.Store.PollDeviceAuthorization(ctx, p)
}

func (r *recorder) ApproveDeviceAuthorization(ctx context.Context, a *storage.DeviceApproval, event storage.AuditEvent) error {
	r.seen.call("ApproveDeviceAuthorization")
	return r.Store.ApproveDeviceAuthorization(ctx, a, event)
}

func (r *recorder) DenyDeviceAuthorization(ctx context.Context, id, sessionID string, now time.Time, event storage.AuditEvent) error {
	r.seen.call("DenyDeviceAuthorization")
	return r.Store.DenyDeviceAuthorization(ctx, id, sessionID, now, event)
}

func (r *recorder) RedeemDeviceAuthorization(ctx context.Context, id string, f *storage.Family) error {
	r.seen.call("RedeemDeviceAuthorization")
	return r.Store.RedeemDeviceAuthorization(ctx, id, f)
}

func (r *recorder) Heartbeat(ctx context.Context) (int64, time.Time, error) {
	r.seen.call("Heartbeat")
	return r.Store.Heartbeat(ctx)
}

func (r *recorder) Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error) {
	r.seen.call("Sweep")
	return r.Store.Sweep(ctx, now, unusedClientLifetime, limit)
}

func (r *recorder) Close() error {
	r.seen.call("Close")
	return r.Store.Close()
}

func (r *recorder) RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error) {
	r.seen.call("RegistrationPolicy")
	return r.Store.RegistrationPolicy(ctx)
}

func (r *recorder) UpdateRegistrationPolicy(ctx context.Context, p *storage.RegistrationPolicy, event storage.AuditEvent) error {
	r.seen.call("UpdateRegistrationPolicy")
	return r.Store.UpdateRegistrationPolicy(ctx, p, event)
}

func (r *recorder) AskRegistration(ctx context.Context, q *storage.RegistrationRequest, userID string, limits storage.RequestLimits, event storage.AuditEvent) error {
	r.seen.call("AskRegistration")
	return r.Store.AskRegistration(ctx, q, userID, limits, event)
}

func (r *recorder) RegistrationRequest(ctx context.Context, id string) (*storage.RegistrationRequest, error) {
	r.seen.call("RegistrationRequest")
	return r.Store.RegistrationRequest(ctx, id)
}

func (r *recorder) RegistrationRequestOf(ctx context.Context, clientID, userID string) (*storage.RegistrationRequest, bool, error) {
	r.seen.call("RegistrationRequestOf")
	return r.Store.RegistrationRequestOf(ctx, clientID, userID)
}

func (r *recorder) RegistrationRequests(ctx context.Context, state storage.RegistrationRequestState, page storage.Page) ([]*storage.RegistrationRequest, error) {
	r.seen.call("RegistrationRequests")
	return r.Store.RegistrationRequests(ctx, state, page)
}

func (r *recorder) DecideRegistration(ctx context.Context, id string, d storage.RegistrationDecision, event storage.AuditEvent) error {
	r.seen.call("DecideRegistration")
	return r.Store.DecideRegistration(ctx, id, d, event)
}

func (r *recorder) DeleteRegistrationRequest(ctx context.Context, id string, event storage.AuditEvent) error {
	r.seen.call("DeleteRegistrationRequest")
	return r.Store.DeleteRegistrationRequest(ctx, id, event)
}

func (r *recorder) CreatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	r.seen.call("CreatePolicy")
	return r.Store.CreatePolicy(ctx, p, event)
}

func (r *recorder) Policy(ctx context.Context, id string) (*storage.Policy, error) {
	r.seen.call("Policy")
	return r.Store.Policy(ctx, id)
}

func (r *recorder) Policies(ctx context.Context, page storage.Page) ([]*storage.Policy, error) {
	r.seen.call("Policies")
	return r.Store.Policies(ctx, page)
}

func (r *recorder) UpdatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	r.seen.call("UpdatePolicy")
	return r.Store.UpdatePolicy(ctx, p, event)
}

func (r *recorder) DeletePolicy(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeletePolicy")
	return r.Store.DeletePolicy(ctx, id, version, event)
}

func (r *recorder) UnsealedAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	r.seen.call("UnsealedAuditEvents")
	return r.Store.UnsealedAuditEvents(ctx, limit)
}

func (r *recorder) CountUnsealedAuditEvents(ctx context.Context) (int, error) {
	r.seen.call("CountUnsealedAuditEvents")
	return r.Store.CountUnsealedAuditEvents(ctx)
}

func (r *recorder) LastAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	r.seen.call("LastAuditSeal")
	return r.Store.LastAuditSeal(ctx)
}

func (r *recorder) SealAuditEvents(ctx context.Context, seal *storage.AuditSeal, events []*storage.AuditEvent) error {
	r.seen.call("SealAuditEvents")
	return r.Store.SealAuditEvents(ctx, seal, events)
}

func (r *recorder) AuditSeals(ctx context.Context, after int64, limit int) ([]*storage.AuditSeal, error) {
	r.seen.call("AuditSeals")
	return r.Store.AuditSeals(ctx, after, limit)
}

func (r *recorder) AuditBatches(ctx context.Context, after, to int64, limit int) ([]*storage.AuditBatch, error) {
	r.seen.call("AuditBatches")
	return r.Store.AuditBatches(ctx, after, to, limit)
}

func (r *recorder) StrayAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	r.seen.call("StrayAuditEvents")
	return r.Store.StrayAuditEvents(ctx, limit)
}

func (r *recorder) SealedAuditEvents(ctx context.Context, number int64, position, limit int) ([]*storage.AuditEvent, error) {
	r.seen.call("SealedAuditEvents")
	return r.Store.SealedAuditEvents(ctx, number, position, limit)
}

func (r *recorder) RemoveSealedAuditEvents(ctx context.Context, number int64, removedAt time.Time, removal []byte) error {
	r.seen.call("RemoveSealedAuditEvents")
	return r.Store.RemoveSealedAuditEvents(ctx, number, removedAt, removal)
}

func (r *recorder) OldestKeptAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	r.seen.call("OldestKeptAuditSeal")
	return r.Store.OldestKeptAuditSeal(ctx)
}

func (r *recorder) EraseAuditEvents(ctx context.Context, events []*storage.AuditEvent) error {
	r.seen.call("EraseAuditEvents")
	return r.Store.EraseAuditEvents(ctx, events)
}

func (r *recorder) EndAfterRestore(ctx context.Context, all bool, event storage.AuditEvent) (storage.Ended, error) {
	r.seen.call("EndAfterRestore")
	return r.Store.EndAfterRestore(ctx, all, event)
}

func (r *recorder) WithdrawSigningKeys(ctx context.Context, event storage.AuditEvent) error {
	r.seen.call("WithdrawSigningKeys")
	return r.Store.WithdrawSigningKeys(ctx, event)
}

func (r *recorder) Pool() storage.Pool {
	r.seen.call("Pool")
	return r.Store.Pool()
}

func (r *recorder) CreateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	r.seen.call("CreateProvider")
	return r.Store.CreateProvider(ctx, p, event)
}

func (r *recorder) Provider(ctx context.Context, id string) (*storage.Provider, error) {
	r.seen.call("Provider")
	return r.Store.Provider(ctx, id)
}

func (r *recorder) Providers(ctx context.Context, page storage.Page) ([]*storage.Provider, error) {
	r.seen.call("Providers")
	return r.Store.Providers(ctx, page)
}

func (r *recorder) UpdateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	r.seen.call("UpdateProvider")
	return r.Store.UpdateProvider(ctx, p, event)
}

func (r *recorder) ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event storage.AuditEvent) error {
	r.seen.call("ResealProvider")
	return r.Store.ResealProvider(ctx, id, sealed, resealed, event)
}

func (r *recorder) DeleteProvider(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	r.seen.call("DeleteProvider")
	return r.Store.DeleteProvider(ctx, id, version, event)
}

func (r *recorder) UserByIdentity(ctx context.Context, issuer, subject string) (*storage.User, error) {
	r.seen.call("UserByIdentity")
	return r.Store.UserByIdentity(ctx, issuer, subject)
}

func (r *recorder) UserToLink(ctx context.Context, email string) (*storage.User, error) {
	r.seen.call("UserToLink")
	return r.Store.UserToLink(ctx, email)
}

func (r *recorder) ProvisionUser(ctx context.Context, u *storage.User, v storage.Verification, event storage.AuditEvent) error {
	r.seen.call("ProvisionUser")
	return r.Store.ProvisionUser(ctx, u, v, event)
}

func (r *recorder) LinkUser(ctx context.Context, userID string, version int64, v storage.Verification, event storage.AuditEvent) error {
	r.seen.call("LinkUser")
	return r.Store.LinkUser(ctx, userID, version, v, event)
}

func (r *recorder) VerifyUser(ctx context.Context, v storage.Verification, event storage.AuditEvent) error {
	r.seen.call("VerifyUser")
	return r.Store.VerifyUser(ctx, v, event)
}

func (r *recorder) UserIdentities(ctx context.Context, userID string) ([]*storage.UserIdentity, error) {
	r.seen.call("UserIdentities")
	return r.Store.UserIdentities(ctx, userID)
}
