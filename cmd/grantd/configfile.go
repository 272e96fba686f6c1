package main

import (
	"fmt"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// readConfigFile takes the settings out of a YAML file: one mapping, the flags'
// names as keys, a text or a list of texts as values.
func (s *Settings) readConfigFile(path string, from source) map[string]value {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		s.fault(from.name, fmt.Sprintf("cannot be read: %v", err), "name a YAML file that grantd may read")
		return nil
	}
	document, err := parser.ParseBytes(data, 0)
	if err != nil {
		// Without the source excerpt, which could show a secret.
		s.fault(path, "is not valid YAML: "+yaml.FormatError(err, false, false), "one setting per line, as: issuer: https://auth.example.com")
		return nil
	}
	place := make(map[string]value)
	for _, doc := range document.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode:
		case ast.MapNode:
			for entries := body.MapRange(); entries.Next(); {
				s.readConfigEntry(path, entries.KeyValue(), place)
			}
		default:
			s.fault(path, "does not hold settings", "one setting per line, as: issuer: https://auth.example.com")
		}
	}
	if holdsSecret(place) {
		if fault := checkSecretMode(path); fault != nil {
			s.fault(path, "holds a secret and "+fault.Problem, fault.Mend)
		}
	}
	return place
}

func (s *Settings) readConfigEntry(path string, entry *ast.MappingValueNode, place map[string]value) {
	token := entry.Key.GetToken()
	name := token.Value
	from := source{"file", fmt.Sprintf("%s:%d %s", path, token.Position.Line, name)}
	if !isSettingName(name) {
		s.fault(from.name, "is not a setting", didYouMean(name, func(n string) string { return n }))
		return
	}
	given, ok := texts(entry.Value)
	if !ok {
		s.fault(from.name, "is neither a text nor a list of texts", "write it as "+name+": VALUE")
		return
	}
	place[name] = value{given: given, from: from}
}

// texts returns a scalar, or a list of scalars, as they are written.
func texts(node ast.Node) ([]string, bool) {
	switch node := node.(type) {
	case *ast.SequenceNode:
		var all []string
		for _, item := range node.Values {
			text, ok := texts(item)
			if !ok || len(text) != 1 {
				return nil, false
			}
			all = append(all, text[0])
		}
		return all, true
	case *ast.StringNode:
		return []string{node.Value}, true
	case *ast.LiteralNode:
		return []string{node.Value.Value}, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return []string{node.GetToken().Value}, true
	}
	return nil, false
}

func holdsSecret(place map[string]value) bool {
	for _, s := range settings {
		v, given := place[s.name]
		if !given || !s.secret || len(v.given) == 0 {
			continue
		}
		if s.name != "database-url" || databaseHasPassword(v.given[0]) {
			return true
		}
	}
	return false
}
