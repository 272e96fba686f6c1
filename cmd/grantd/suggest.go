package main

import "strings"

// didYouMean names the setting that comes closest to an unknown one, spelled by
// spell, or says where all of them are listed.
func didYouMean(unknown string, spell func(string) string) string {
	best, distance := "", 1+len(unknown)/3
	for _, s := range settings {
		names := []string{s.name}
		if s.secret {
			names = append(names, s.name+fileSuffix)
		}
		for _, name := range names {
			if d := editDistance(unknown, name); d <= distance && d < len(name) {
				best, distance = name, d-1
			}
		}
	}
	if best == "" {
		// Half a name is a near miss too: "database", "alg".
		for _, s := range settings {
			if len(unknown) > 2 && strings.Contains(s.name, unknown) {
				best = s.name
				break
			}
		}
	}
	if best == "" {
		return `remove it; "grantd serve --help" lists all settings`
	}
	return "did you mean " + spell(best) + "?"
}

// editDistance is how many letters must be added, removed or changed to make b
// of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
