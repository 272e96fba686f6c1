package notes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What one notebook and this server hold at most. It is an example that anybody
// with a token may write to, and memory is finite.
const (
	maxNotebooks = 1000
	maxNotes     = 100
	maxTitle     = 200  // bytes
	maxText      = 4000 // bytes
)

// Note is one entry of a notebook.
type Note struct {
	ID      int       `json:"id"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
}

type noteSummary struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
}

type noteList struct {
	Notes []noteSummary `json:"notes"`
}

type readArguments struct {
	ID int `json:"id" jsonschema:"the number of the note, as list_notes gives it"`
}

type addArguments struct {
	Title string `json:"title" jsonschema:"a short title"`
	Text  string `json:"text" jsonschema:"the note itself"`
}

// newMCPServer returns the notebook's tools as an MCP server.
func newMCPServer(now func() time.Time) *mcp.Server {
	books := &notebooks{now: now, bySubject: make(map[string][]Note)}
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Title: "Notes", Version: "1.0.0"}, nil)
	server.AddReceivingMiddleware(guardTools)
	mcp.AddTool(server, &mcp.Tool{
		Name: ToolList, Title: "List notes", Description: "List the titles of your notes.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
	}, func(_ context.Context, request *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, noteList, error) {
		return nil, noteList{Notes: books.list(subject(request))}, nil
	})
	mcp.AddTool(server, &mcp.Tool{
		Name: ToolRead, Title: "Read a note", Description: "Read one of your notes.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
	}, func(_ context.Context, request *mcp.CallToolRequest, arguments readArguments) (*mcp.CallToolResult, Note, error) {
		note, err := books.read(subject(request), arguments.ID)
		return nil, note, err
	})
	mcp.AddTool(server, &mcp.Tool{
		Name: ToolAdd, Title: "Add a note", Description: "Write a new note into your notebook.",
	}, func(_ context.Context, request *mcp.CallToolRequest, arguments addArguments) (*mcp.CallToolResult, Note, error) {
		note, err := books.add(subject(request), arguments.Title, arguments.Text)
		return nil, note, err
	})
	return server
}

// subject is whose notebook a call is about: never an argument, always the
// token's sub.
func subject(request *mcp.CallToolRequest) string { return request.Extra.TokenInfo.UserID }

// notebooks are the notes of everybody, by the sub of their tokens.
type notebooks struct {
	now func() time.Time

	mu        sync.Mutex
	bySubject map[string][]Note
}

func (b *notebooks) list(subject string) []noteSummary {
	b.mu.Lock()
	defer b.mu.Unlock()
	summaries := []noteSummary{}
	for _, note := range b.notes(subject) {
		summaries = append(summaries, noteSummary{ID: note.ID, Title: note.Title})
	}
	return summaries
}

func (b *notebooks) read(subject string, id int) (Note, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	notes := b.notes(subject)
	at := slices.IndexFunc(notes, func(n Note) bool { return n.ID == id })
	if at < 0 {
		return Note{}, errors.New("there is no such note")
	}
	return notes[at], nil
}

func (b *notebooks) add(subject, title, text string) (Note, error) {
	if title == "" || len(title) > maxTitle || len(text) > maxText {
		return Note{}, errors.New("a note needs a title, and neither may be too long")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	notes := b.notes(subject)
	if len(notes) >= maxNotes {
		return Note{}, errors.New("this notebook is full")
	}
	if _, known := b.bySubject[subject]; !known && len(b.bySubject) >= maxNotebooks {
		return Note{}, errors.New("there is no room for another notebook")
	}
	note := Note{ID: len(notes) + 1, Title: title, Text: text, Created: b.now().UTC()}
	b.bySubject[subject] = append(notes, note)
	return note, nil
}

// notes returns a person's notes; a notebook nobody has written to yet has one.
func (b *notebooks) notes(subject string) []Note {
	if notes, ok := b.bySubject[subject]; ok {
		return notes
	}
	return []Note{{ID: 1, Title: "Welcome", Text: "This notebook is yours alone. Add a note to it.", Created: b.now().UTC()}}
}
