package consent_test

import (
	"testing"

	"grantd/server/consent"
)

// CS-14: names that people cannot tell apart, and names that they can.
func TestCS14LooksLike(t *testing.T) {
	known := []consent.Known{{Name: "Claude"}, {Name: "Team Assistant"}, {Name: "Microsoft Teams"}, {Name: "Müller Notes"}, {Name: "Слон"}, {Name: ""}}
	for name, want := range map[string]string{
		"Claude": "Claude", "CIaude": "Claude", "C1aude": "Claude", "claude": "Claude", "CLAUDE": "Claude", " C l a u d e ": "Claude",
		"Clаude": "Claude", "Ϲlaude": "Claude", "Ｃｌａｕｄｅ": "Claude", "𝐂𝐥𝐚𝐮𝐝𝐞": "Claude", "Cla\u200bude": "Claude", "Cl\u202eaude": "Claude", "Ꮯlaude": "Claude",
		"Cláudé": "Claude", "c-l-a-u-d-e": "Claude", "team-assistant": "Team Assistant", "TeamAssistant": "Team Assistant", "Tearn Assistant": "Team Assistant",
		"Теаm Аssistаnt": "Team Assistant", "Microsoft  Teams™": "", "rnicrosoft teams": "Microsoft Teams", "Micr0soft Teams": "Microsoft Teams",
		"Muller Notes": "Müller Notes", "СЛОН": "Слон",
		"Cloud": "", "Claudia": "", "Claude Code": "", "Team": "", "": "", "\u200b": "", "☃": "", "助手": "",
	} {
		got, found := consent.LooksLike(name, known)
		if got.Name != want || found != (want != "") {
			t.Errorf("%q looks like %q, want %q", name, got.Name, want)
		}
	}
}
