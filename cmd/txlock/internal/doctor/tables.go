package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3"

	"github.com/gox-helix/gox-helix/migrations"
)

// tablesSeen is what is known of the tables.
type tablesSeen struct {
	verify error // of migrations.Verify

	pending        []string // the files of migrations that the table of versions does not list
	latest, newest int64    // the latest migration known here, and that the database has
	statusErr      error

	migrate string // the command

	older    bool // helix_locks_older is there
	olderErr error
}

func (e *examination) tables(ctx context.Context) []Finding {
	if e.settingsErr == nil && e.settings.database == "" {
		return []Finding{{Problem, subjectTables, "no database is selected, so that there are no tables of the locks: every operation fails", "name the database in the DSN: user:password@tcp(host:3306)/database"}}
	}
	seen := e.readTables(ctx)
	seen.migrate = e.settings.migrate()
	return judgeTables(seen, e.access)
}

func (e *examination) readTables(ctx context.Context) (t tablesSeen) {
	t.verify = e.onPool(ctx, func(ctx context.Context) error { return migrations.Verify(ctx, e.db) })
	t.statusErr = e.onPool(ctx, func(ctx context.Context) (err error) {
		all, err := migrations.Status(ctx, e.db)
		if err != nil {
			return err
		}
		for _, m := range all {
			t.latest = m.Source.Version
			if m.State == goose.StatePending {
				t.pending = append(t.pending, m.Source.Path)
			}
		}
		t.newest, err = migrations.Version(ctx, e.db)
		return err
	})
	t.olderErr = e.on(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var count int
		err := conn.QueryRowContext(ctx, queryOlderTable).Scan(&count)
		t.older = count > 0
		return err
	})
	return t
}

func judgeTables(t tablesSeen, a access) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectTables, text, cure})
	}
	var drift *migrations.DriftError
	if errors.As(t.verify, &drift) {
		findings = append(findings, t.judgeDrift(drift, a)...)
	} else if t.verify != nil {
		findings = append(findings, unseen(subjectTables, "whether the tables are as this version needs them", t.verify))
	}
	switch {
	case outcomeOf(t.statusErr) == denied: // nothing but migrating needs it
	case t.statusErr != nil:
		findings = append(findings, unseen(subjectTables, "which migrations have run", t.statusErr))
	case len(t.pending) > 0 && t.verify == nil:
		add(Note, fmt.Sprintf("the tables are as this version needs them, but %s does not list %s: fine, if they ran as exported files among your application's own migrations, which are not seen here", migrations.VersionTable, enumerate(t.pending)),
			"if they did not: "+t.migrate+" (what has run already does nothing)")
	case t.newest > t.latest:
		add(Note, fmt.Sprintf("the database has migration %d, and this txlock knows them up to %d: a newer version has migrated it; older ones go on, as migrations only add", t.newest, t.latest), "upgrade txlock")
	}
	switch {
	case t.olderErr != nil:
		findings = append(findings, unseen(subjectTables, "whether an older version's table is left", t.olderErr))
	case t.older && (drift == nil || !drift.NotMigrated()):
		add(Note, "helix_locks_older, the table of an older version that was taken over, is still there, as the way back: the locks do not use it", "when nobody wants to go back: DROP TABLE helix_locks_older, helix_locks_closed;")
	}
	return orOK(findings, subjectTables, "the tables are as this version needs them, and have no trigger that this user may see")
}

// judgeDrift makes one finding of the tables that are not there, and one of each
// other difference.
func (t tablesSeen) judgeDrift(drift *migrations.DriftError, a access) (findings []Finding) {
	add := func(level Level, text, cure string) {
		findings = append(findings, Finding{level, subjectTables, text, cure})
	}
	var absent, hidden []string
	cure := t.migrate
	for _, d := range drift.Differences {
		switch outcome := a.outcome(d.Table, "SELECT"); {
		case !isAbsent(d):
			what := d.Table
			if d.Column != "" {
				what += "." + d.Column
			}
			add(Problem, fmt.Sprintf("%s is %s; it should be %s: until then operations may fail, or locks not hold", what, d.Got, d.Want), d.Cure)
		case outcome == denied:
			hidden = append(hidden, d.Table)
		default:
			got := d.Got
			if outcome == missing && strings.HasPrefix(got, "missing") {
				got = "missing" // and not only not visible
			}
			absent = append(absent, d.Table+" is "+got)
			if t.statusErr == nil && len(t.pending) == 0 || !strings.HasPrefix(d.Got, "missing") {
				cure = d.Cure // there is nothing to do for goose, or it would refuse
			}
		}
	}
	if len(absent) > 0 {
		add(Problem, "the database is not migrated, or not to the end: "+strings.Join(absent, "; ")+": operations fail with ErrNotMigrated", cure)
	}
	if len(hidden) > 0 {
		add(Note, fmt.Sprintf("this user may not see %s: whether it is there and as it should be cannot be said", enumerate(hidden)), "grant what is missing (see privileges), then run txlock doctor again")
	}
	return findings
}

// isAbsent reports whether what is wrong is that migrations have not run.
func isAbsent(d migrations.Difference) bool {
	return (&migrations.DriftError{Differences: []migrations.Difference{d}}).NotMigrated()
}
