package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"grantd/api"
	"grantd/server/web"
)

// maxFaults bounds an answer: who has fifty faults does not read the rest.
const maxFaults = 50

// faults collects what is wrong with a request. Details never repeat a value.
type faults []api.Fault

func (f *faults) add(pointer, detail string) {
	if len(*f) < maxFaults {
		*f = append(*f, api.Fault{Pointer: pointer, Detail: detail})
	}
}

// err is nil without faults, else a 400 with all of them.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &faultsError{code: "invalid", faults: f}
}

// malformed is the 400 for a body that is not of the operation's shape.
func malformed(f ...api.Fault) error { return &faultsError{code: "malformed", faults: f} }

type faultsError struct {
	code   string
	faults []api.Fault
}

func (e *faultsError) Error() string { return e.code + ": " + e.detail() }

func (e *faultsError) detail() string {
	if len(e.faults) == 1 {
		subject := e.faults[0].Pointer
		if subject == "" {
			subject = "the body"
		}
		return subject + " " + e.faults[0].Detail
	}
	return fmt.Sprintf("%d values are not acceptable; see errors.", len(e.faults))
}

// writeError answers with err as problem+json; faults come with their list.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var f *faultsError
	if !errors.As(err, &f) {
		web.WriteProblem(w, r, err)
		return
	}
	web.LogError(r, http.StatusBadRequest, err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(api.Problem{
		Type: "urn:grantd:problem:" + f.code, Title: http.StatusText(http.StatusBadRequest), Status: http.StatusBadRequest,
		Detail: f.detail(), Instance: "urn:grantd:request:" + web.RequestID(r.Context()), Errors: f.faults,
	})
}

// writeUndecodable is for bodies that the generated code cannot decode although
// they passed readBodyStrictly.
func writeUndecodable(w http.ResponseWriter, r *http.Request, _ error) {
	writeError(w, r, malformed(api.Fault{Detail: "is not as this operation wants it"}))
}

// writeBadParameter is for query parameters of a wrong type. The generated
// errors repeat the value, so only the name is taken from them.
func writeBadParameter(w http.ResponseWriter, r *http.Request, err error) {
	fault := api.Fault{Detail: "has a parameter of a wrong type"}
	var format *api.InvalidParamFormatError
	var required *api.RequiredParamError
	switch {
	case errors.As(err, &format):
		fault = api.Fault{Pointer: "?" + format.ParamName, Detail: "is not acceptable; send it once, limit as a number and a time as 2026-01-31T08:00:00Z"}
	case errors.As(err, &required):
		fault = api.Fault{Pointer: "?" + required.ParamName, Detail: "is required"}
	}
	writeError(w, r, &faultsError{code: "invalid", faults: []api.Fault{fault}})
}

// refuseUnknownParameters refuses query parameters that the operation does not
// have: a misspelt filter must not select everything.
func refuseUnknownParameters(next api.StrictHandlerFunc, _ string) api.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		sent, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, faults{{Pointer: "?", Detail: "is malformed"}}.err()
		}
		var known map[string]reflect.Type
		if params := reflect.ValueOf(request).FieldByName("Params"); params.IsValid() {
			known = fieldsByName(params.Type(), "form")
		}
		var f faults
		for name, values := range sent {
			switch {
			case known[name] == nil:
				f.add("?"+pointerToken(name), "is not a parameter of this operation")
			case len(values) > 1:
				f.add("?"+name, "is there more than once")
			}
		}
		slices.SortFunc(f, func(a, b api.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
		if err := f.err(); err != nil {
			return nil, err
		}
		return next(ctx, w, r, request)
	}
}
