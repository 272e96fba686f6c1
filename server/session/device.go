package session

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DeviceLifetime is how long a device stays known after a sign-in.
const DeviceLifetime = 90 * 24 * time.Hour

const devicePurpose = "known device"

// Device is a browser on which a user has signed in before.
type Device struct {
	ID     string // random, of this one sign-in
	UserID string
}

// Device returns the device that the browser proves to be; ok is false when it
// proves nothing, or what it proves is older than DeviceLifetime.
func (m *Manager) Device(r *http.Request) (device Device, ok bool) {
	sealed := m.Issuer.Cookie(r, DeviceCookie)
	if sealed == "" {
		return Device{}, false
	}
	plaintext, err := m.Sealer.Open(devicePurpose, sealed)
	if err != nil {
		return Device{}, false
	}
	parts := strings.Split(string(plaintext), " ")
	if len(parts) != 3 {
		return Device{}, false
	}
	seconds, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || !m.Now().Before(time.Unix(seconds, 0).Add(DeviceLifetime)) {
		return Device{}, false
	}
	return Device{ID: parts[1], UserID: parts[0]}, true
}

// markDevice gives the browser a mark for the user, in place of any it had.
func (m *Manager) markDevice(w http.ResponseWriter, userID string, now time.Time) {
	mark := userID + " " + rand.Text() + " " + strconv.FormatInt(now.Unix(), 10)
	m.Issuer.SetCookie(w, DeviceCookie, m.Sealer.Seal(devicePurpose, []byte(mark)), DeviceLifetime)
}
