package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"grantd/server/web"
	"grantd/storage"
)

// deviceCaps bound what may wait for a person at once, because strangers can ask
// in the name of a public client.
var deviceCaps = storage.DeviceCaps{PerClient: 1000, InAll: 10_000}

// A public client's devices may ask for so many codes from one address.
const (
	deviceRequests       = 100
	deviceRequestsWindow = 10 * time.Minute
)

// deviceResponse is a device authorization response (RFC 8628 §3.2).
type deviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int    `json:"expires_in"` // seconds
	Interval                int    `json:"interval"`   // seconds
}

// DeviceAuthorization serves POST /device_authorization (RFC 8628 §3.1): a device
// without a browser asks for the code that a person is to enter at /device.
func (o *OAuth) DeviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	form, err := o.readForm(r, "resource")
	if err != nil {
		return err
	}
	client, err := o.ClientAuth.Authenticate(r, form)
	if err != nil {
		return err
	}
	if !client.MayUse(storage.GrantTypeDeviceCode) {
		return web.NewOAuthError("unauthorized_client", "The client did not register this grant type.")
	}
	a, err := readAsked(form.Values["resource"], form.Get("scope"))
	if err != nil {
		return err
	}
	resource, scopes, err := o.targetOfPerson(r.Context(), client, a)
	if err != nil {
		return err
	}
	if client.Public() {
		if wait := o.deviceRequests.Take(o.ClientAuth.Addresses.Key(r)); wait > 0 {
			return &web.OAuthError{
				Status: http.StatusTooManyRequests, Code: "temporarily_unavailable",
				Description: "Too many device codes for this address; wait before trying again.", RetryAfter: wait,
			}
		}
	}
	d, userCode, err := o.newDevice(r, client, resource, scopes)
	if errors.Is(err, storage.ErrFull) {
		return &web.OAuthError{
			Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "Too many devices wait for approval; try again later.", Err: err, RetryAfter: int(storage.DeviceLifetime / time.Second),
		}
	} else if err != nil {
		return err
	}
	deviceCode, err := o.values.deviceCode(d.ID)
	if err != nil {
		return err
	}
	shown, page := showUserCode(userCode), o.Issuer.URL("/device")
	web.WriteJSON(w, http.StatusOK, deviceResponse{
		DeviceCode: deviceCode, UserCode: shown, VerificationURI: page,
		VerificationURIComplete: page + "?" + userCodeParameter + "=" + url.QueryEscape(shown),
		ExpiresIn:               int(storage.DeviceLifetime / time.Second), Interval: int(storage.DevicePollInterval / time.Second),
	})
	return nil
}

// newDevice stores what a device asks for, under a user code that nobody has.
func (o *OAuth) newDevice(r *http.Request, client *storage.Client, resource *storage.Resource, scopes []string) (d *storage.DeviceAuthorization, userCode string, err error) {
	now := o.Now()
	d = &storage.DeviceAuthorization{
		ClientID: client.ID, ResourceID: resource.ID, Scopes: scopes, State: storage.DevicePending,
		PollInterval: storage.DevicePollInterval, CreatedAt: now, ExpiresAt: now.Add(storage.DeviceLifetime),
	}
	const attempts = 3 // one in millions meets a code that is taken
	for range attempts {
		userCode = newUserCode()
		d.ID = storage.NewID(storage.PrefixDevice)
		d.UserCodeHash = o.Root.Fingerprints(userCodePurpose, []byte(userCode))[0]
		err = o.Store.CreateDeviceAuthorization(r.Context(), d, deviceCaps)
		if !errors.Is(err, storage.ErrExists) {
			break
		}
	}
	if errors.Is(err, storage.ErrNotFound) { // deleted this very moment
		err = invalidTarget("The resource or the client has just been removed.")
	}
	return d, userCode, err
}
