package sqlite

import (
	"encoding/json"
	"fmt"
	"time"
)

// micros is how a time is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// microsOrNull is how a time is stored that may be absent.
func microsOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// textOrNull is how text is stored that may be absent.
func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// list is how strings are stored.
func list(items []string) string {
	if items == nil {
		return "[]"
	}
	return asJSON(items)
}

// asJSON encodes what this package makes itself and so can be encoded.
func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("sqlite: %T: %v", value, err))
	}
	return string(text)
}

// blob keeps an empty value apart from NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// blobOrNull is how bytes are stored that may be absent.
func blobOrNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// The types below read columns into fields.

// intoTime reads a time; NULL is the zero time.
type intoTime struct{ to *time.Time }

func (i intoTime) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*i.to = time.Time{}
	case int64:
		*i.to = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time is stored as %T", value)
	}
	return nil
}

// intoList reads strings; an empty list is not nil, but NULL is.
type intoList struct{ to *[]string }

func (i intoList) Scan(value any) error {
	*i.to = nil
	if value == nil {
		return nil
	}
	return scanJSON(value, i.to)
}

// intoJSON reads any other JSON value.
type intoJSON struct{ to any }

func (i intoJSON) Scan(value any) error { return scanJSON(value, i.to) }

// intoBlob reads bytes; no bytes are not nil.
type intoBlob struct{ to *[]byte }

func (i intoBlob) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok && value != nil {
		return fmt.Errorf("bytes are stored as %T", value)
	}
	*i.to = append([]byte{}, b...)
	return nil
}

// intoBlobOrNil reads bytes; NULL is nil.
type intoBlobOrNil struct{ to *[]byte }

func (i intoBlobOrNil) Scan(value any) error {
	*i.to = nil
	if value == nil {
		return nil
	}
	return intoBlob(i).Scan(value)
}

// intoText reads text; NULL is empty.
type intoText struct{ to *string }

func (i intoText) Scan(value any) error {
	text, ok := value.(string)
	if !ok && value != nil {
		return fmt.Errorf("text is stored as %T", value)
	}
	*i.to = text
	return nil
}

// intoInteger reads an integer; NULL is 0.
type intoInteger[T int | int64] struct{ to *T }

func (i intoInteger[T]) Scan(value any) error {
	number, ok := value.(int64)
	if !ok && value != nil {
		return fmt.Errorf("an integer is stored as %T", value)
	}
	*i.to = T(number)
	return nil
}

func scanJSON(value, to any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("JSON is stored as %T", value)
	}
	return json.Unmarshal([]byte(text), to)
}
