package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"grantd/api"
	"grantd/server/web"
)

// maxBody bounds a request body, in bytes.
const maxBody = 1 << 20

// bodies are the types of the request bodies, by method and path template. An
// operation that is not here takes none.
var bodies = map[string]reflect.Type{
	"POST /admin/v1/clients":          reflect.TypeFor[api.ClientFields](),
	"PATCH /admin/v1/clients/{id}":    reflect.TypeFor[api.ClientPatch](),
	"POST /admin/v1/resources":        reflect.TypeFor[api.ResourceFields](),
	"PATCH /admin/v1/resources/{id}":  reflect.TypeFor[api.ResourcePatch](),
	"POST /admin/v1/policies":         reflect.TypeFor[api.PolicyFields](),
	"PATCH /admin/v1/policies/{id}":   reflect.TypeFor[api.PolicyPatch](),
	"POST /admin/v1/users":            reflect.TypeFor[api.UserFields](),
	"PATCH /admin/v1/users/{id}":      reflect.TypeFor[api.UserPatch](),
	"POST /admin/v1/users/{id}/links": reflect.TypeFor[api.UserLinkFields](),
	"POST /admin/v1/groups":           reflect.TypeFor[api.GroupFields](),
	"PATCH /admin/v1/groups/{id}":     reflect.TypeFor[api.GroupPatch](),
	"POST /admin/v1/keys/rotate":      reflect.TypeFor[api.KeyRotation](),
	"POST /admin/v1/grants/revoke":    reflect.TypeFor[api.GrantSelection](),
	"POST /admin/v1/tokens/inspect":   reflect.TypeFor[api.TokenValue](),
	"POST /admin/v1/tokens/revoke":    reflect.TypeFor[api.TokenValue](),

	"POST /admin/v1/clients/{id}/secrets/rotate": reflect.TypeFor[api.SecretRotation](),

	"POST /admin/v1/clients/{id}/secrets":                reflect.TypeFor[api.ClientSecretFields](),
	"POST /admin/v1/admin-keys":                          reflect.TypeFor[api.AdminKeyFields](),
	"POST /admin/v1/providers":                           reflect.TypeFor[api.ProviderFields](),
	"PATCH /admin/v1/providers/{id}":                     reflect.TypeFor[api.ProviderPatch](),
	"POST /admin/v1/providers/{id}/test":                 reflect.TypeFor[api.ProviderTest](),
	"POST /admin/v1/registration-tokens":                 reflect.TypeFor[api.RegistrationTokenFields](),
	"PATCH /admin/v1/registration-policy":                reflect.TypeFor[api.RegistrationPolicyPatch](),
	"PATCH /admin/v1/sign-in-policy":                     reflect.TypeFor[api.SignInPolicyPatch](),
	"POST /admin/v1/registration-requests/{id}/decision": reflect.TypeFor[api.RegistrationDecision](),
}

// optionalBodies are those operations of bodies that also work without one.
var optionalBodies = []string{"POST /admin/v1/clients/{id}/secrets"}

// readBodyStrictly checks the body of a POST, PUT or PATCH before the generated code
// decodes it, which would let unknown, repeated and misspelt fields through.
func readBodyStrictly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method) {
			if err := checkRequestBody(w, r); err != nil {
				writeError(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func checkRequestBody(w http.ResponseWriter, r *http.Request) error {
	template, err := mux.CurrentRoute(r).GetPathTemplate()
	if err != nil {
		return err
	}
	operation := r.Method + " " + template
	bodyType, takesBody := bodies[operation]
	needsBody := takesBody && !slices.Contains(optionalBodies, operation)
	if err := checkContentType(r, needsBody); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Message: "The body is longer than 1 MiB."}
	case err != nil:
		return malformed(api.Fault{Detail: "the body did not arrive whole"})
	}
	if len(body) == 0 && !needsBody {
		r.Body = http.NoBody
		return nil
	}
	if !takesBody {
		// Some programs send {} with every POST.
		bodyType = reflect.TypeFor[struct{}]()
	}
	if faults := checkJSON(body, bodyType); len(faults) > 0 {
		return malformed(faults...)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// checkContentType wants application/json, or for a PATCH also
// application/merge-patch+json, and leaves only the media type in the header,
// which the generated code compares by byte.
func checkContentType(r *http.Request, required bool) error {
	sent := r.Header.Values("Content-Type")
	if len(sent) == 0 && !required {
		return nil
	}
	if len(sent) == 1 {
		mediaType, parameters, err := mime.ParseMediaType(sent[0])
		charset := parameters["charset"]
		if err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) &&
			(mediaType == "application/json" || mediaType == "application/merge-patch+json" && r.Method == http.MethodPatch) {
			r.Header.Set("Content-Type", mediaType)
			return nil
		}
	}
	message := "The content type must be application/json."
	if r.Method == http.MethodPatch {
		message = "The content type must be application/merge-patch+json or application/json."
	}
	return &web.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported-media-type", Message: message}
}

// checkJSON compares one JSON document with the Go type it will be decoded into
// and returns every difference.
func checkJSON(document []byte, t reflect.Type) []api.Fault {
	if !utf8.Valid(document) || !json.Valid(document) {
		return []api.Fault{{Detail: "is not one well-formed JSON document in UTF-8"}}
	}
	var f faults
	checkValue(&f, bytes.TrimSpace(document), t, "")
	return f
}

func checkValue(f *faults, raw json.RawMessage, t reflect.Type, pointer string) {
	if t.Kind() == reflect.Map && t.Key().Kind() == reflect.Bool { // nullable.Nullable
		if string(raw) != "null" {
			checkValue(f, raw, t.Elem(), pointer)
		}
		return
	}
	if string(raw) == "null" {
		f.add(pointer, "must not be null; leave the field out instead")
		return
	}
	if t == reflect.TypeFor[json.RawMessage]() || t.Kind() == reflect.Map { // a JSON object that has rules of its own
		if raw[0] != '{' {
			f.add(pointer, "must be an object")
		}
		return
	}
	if t == reflect.TypeFor[time.Time]() {
		var at time.Time
		if json.Unmarshal(raw, &at) != nil {
			f.add(pointer, "must be a time as in 2026-11-23T09:30:00Z")
		}
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		checkValue(f, raw, t.Elem(), pointer)
	case reflect.String:
		if raw[0] != '"' {
			f.add(pointer, "must be a string")
		}
	case reflect.Bool:
		if raw[0] != 't' && raw[0] != 'f' {
			f.add(pointer, "must be true or false")
		}
	case reflect.Int:
		if _, err := strconv.Atoi(string(raw)); err != nil {
			f.add(pointer, "must be a whole number")
		}
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			f.add(pointer, "must be a list")
			return
		}
		for i, item := range items {
			checkValue(f, item, t.Elem(), pointer+"/"+strconv.Itoa(i))
		}
	case reflect.Struct:
		checkObject(f, raw, t, pointer)
	default:
		f.add(pointer, "is not supported")
	}
}

func checkObject(f *faults, raw json.RawMessage, t reflect.Type, pointer string) {
	if raw[0] != '{' {
		f.add(pointer, "must be an object")
		return
	}
	known := fieldsByName(t, "json")
	seen := make(map[string]bool)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	_, _ = decoder.Token() // {
	for decoder.More() {
		token, err := decoder.Token()
		name, _ := token.(string)
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			f.add(pointer, "must be an object")
			return
		}
		field, ok := known[name]
		switch at := pointer + "/" + pointerToken(name); {
		case !ok:
			f.add(at, "is not a field that can be set here")
		case seen[name]:
			f.add(at, "is there more than once")
		default:
			checkValue(f, value, field, at)
		}
		seen[name] = true
	}
}

// fieldsByName returns the types of a struct's fields by the name in their tag.
func fieldsByName(t reflect.Type, tag string) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get(tag), ",")
		if name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

// pointerToken is a name as a JSON Pointer has it (RFC 6901 §3). Names that are
// no plain words are not repeated.
func pointerToken(name string) string {
	if len(name) > 64 {
		return "…"
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "…"
		}
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
