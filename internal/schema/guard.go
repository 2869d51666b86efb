package schema

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gox-helix/gox-helix/lockdb"
)

// compareConstraints finds that the CHECK is gone. Who sees not even a primary key
// lacks the privilege to see either, on MariaDB.
func (t table) compareConstraints(got []*lockdb.ListConstraintsRow) []Difference {
	if t.check == "" || len(got) == 0 {
		return nil
	}
	if slices.ContainsFunc(got, func(c *lockdb.ListConstraintsRow) bool {
		return c.ConstraintType == "check" && (c.Clause == "" || spellClause(c.Clause) == spellClause(t.check))
	}) {
		return nil
	}
	return []Difference{{
		Table: t.name, Got: "without CHECK (" + t.check + "), or does not enforce it", Want: "with it, as it refuses the writes of older programs",
		Cure: "ALTER TABLE " + t.name + " ADD CHECK (" + t.check + ");",
	}}
}

var notSpelling = regexp.MustCompile("[\\s()`\"]")

// spellClause is a condition without what the servers put around its parts.
func spellClause(clause string) string {
	return notSpelling.ReplaceAllString(strings.ToLower(clause), "")
}

func (t table) compareTriggers(names []string) (differences []Difference) {
	for _, name := range names {
		differences = append(differences, Difference{
			Table: t.name, Got: "with trigger " + name, Want: "without it, as it hides the answers of statements, or changes what they write",
			Cure: "DROP TRIGGER `" + strings.ReplaceAll(name, "`", "``") + "`;",
		})
	}
	return differences
}
