package ormtest

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/gox-helix/gox-helix/txlock"
)

// Account is a model as a program would have it.
type Account struct {
	ID    int64
	Name  string
	Cents int64
}

func (f *fixture) gorm(db *sql.DB, config gorm.Config) *gorm.DB {
	f.Helper()
	config.Logger = logger.Discard
	config.TranslateError = true
	g, err := gorm.Open(mysql.New(mysql.Config{Conn: db}), &config)
	f.must(err)
	return g.WithContext(f.Context())
}

// With and without GORM's own transactions around single writes, and with its
// cache of prepared statements.
var gormConfigs = map[string]gorm.Config{
	"default":        {},
	"no transaction": {SkipDefaultTransaction: true},
	"prepared":       {PrepareStmt: true},
}

func TestGorm(t *testing.T) {
	onServers(t, func(f *fixture) {
		for name, config := range gormConfigs {
			f.Run(name, func(t *testing.T) {
				f := *f
				f.T, f.key = t, f.key+name
				var err error
				f.lease, err = f.locker.TryAcquire(t.Context(), f.key)
				f.must(err)
				f.testGorm(f.gorm(f.fence(), config))
			})
		}
	})
}

var errRollback = errors.New("roll back")

func (f *fixture) testGorm(db *gorm.DB) {
	a := Account{Name: f.key + "a", Cents: 1}
	if db.SkipDefaultTransaction { // MariaDB: INSERT ... RETURNING wants a transaction
		f.must(db.Transaction(func(tx *gorm.DB) error { return tx.Create(&a).Error }))
	} else {
		f.must(db.Create(&a).Error)
	}
	f.wantsCents("a", 1)
	a.Cents = 2
	f.must(db.Save(&a).Error)
	f.must(db.Model(&a).Update("cents", gorm.Expr("cents + ?", 1)).Error)
	f.must(db.Model(&Account{}).Where("name = ?", a.Name).Updates(map[string]any{"cents": 4}).Error)
	f.must(db.Exec(`UPDATE accounts SET cents = cents + ? WHERE name = ?`, 1, a.Name).Error)
	f.wantsCents("a", 5)

	var got Account
	f.must(db.First(&got, "name = ?", a.Name).Error)
	var cents int64
	f.must(db.Raw(`SELECT cents FROM accounts WHERE name = ?`, a.Name).Scan(&cents).Error)
	if got.ID != a.ID || got.Cents != 5 || cents != 5 {
		f.Errorf("got %+v and %d", got, cents)
	}
	f.wants(db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{Name: a.Name}).Error }), gorm.ErrDuplicatedKey)

	// Nested transactions: the inner one is rolled back to its savepoint.
	f.must(db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&got, a.ID).Error; err != nil {
			return err
		}
		if err := tx.Model(&got).Update("cents", 10).Error; err != nil {
			return err
		}
		err := tx.Transaction(func(tx *gorm.DB) error {
			if err := tx.Delete(&got).Error; err != nil {
				return err
			}
			return errRollback
		})
		if !errors.Is(err, errRollback) {
			return err
		}
		f.wantsCents("a", 5)
		return tx.Create(&Account{Name: f.key + "b", Cents: 7}).Error
	}))
	f.wantsCents("a", 10)
	f.wantsCents("b", 7)

	tx := db.Begin()
	f.must(tx.Error)
	f.must(tx.SavePoint("here").Error)
	f.must(tx.Model(&got).Update("cents", 11).Error)
	f.must(tx.RollbackTo("here").Error)
	f.must(tx.Commit().Error)
	f.wants(db.Transaction(func(tx *gorm.DB) error {
		f.must(tx.Model(&got).Update("cents", 12).Error)
		return errRollback
	}), errRollback)
	f.wantsCents("a", 10)

	type Refused struct{ ID int64 }
	f.wants(db.AutoMigrate(&Refused{}), txlock.ErrUnfenced)
	f.wants(db.Migrator().DropTable(&Account{}), txlock.ErrUnfenced)
	f.wants(db.Transaction(func(tx *gorm.DB) error { return tx.Exec(`TRUNCATE accounts`).Error }), txlock.ErrUnfenced)

	f.takeOver()
	ran := false
	f.wants(db.Transaction(func(*gorm.DB) error { ran = true; return nil }), txlock.ErrLost)
	if ran {
		f.Error("a stale transaction was begun")
	}
	f.wants(db.Begin().Error, txlock.ErrLost)
	f.wants(db.Model(&got).Update("cents", 13).Error, txlock.ErrLost)
	got.Cents = 14
	f.wants(db.Save(&got).Error, txlock.ErrLost)
	f.wants(db.Delete(&got).Error, txlock.ErrLost)
	f.wants(db.Exec(`UPDATE accounts SET cents = 15 WHERE name = ?`, a.Name).Error, txlock.ErrLost)
	if err := db.Create(&Account{Name: f.key + "c"}).Error; !errors.Is(err, txlock.ErrLost) && !errors.Is(err, txlock.ErrUnfenced) {
		f.Errorf("Create: %v", err)
	}
	f.must(db.First(&got, a.ID).Error)
	f.wantsCents("a", 10)
	f.wantsCents("c", -1)
}

// A connection that is lost in a GORM transaction leaves nothing, even where its error is
// swallowed.
func TestGormSwallowsAnAbort(t *testing.T) {
	onServers(t, func(f *fixture) {
		db := f.gorm(f.fence(), gorm.Config{})
		a := Account{Name: f.key + "a", Cents: 1}
		f.must(db.Create(&a).Error)
		err := db.Transaction(func(tx *gorm.DB) error {
			var id int64
			if err := tx.Raw(`SELECT CONNECTION_ID()`).Scan(&id).Error; err != nil {
				return err
			}
			if err := tx.Model(&a).Update("cents", 2).Error; err != nil {
				return err
			}
			f.exec(fmt.Sprint("KILL ", id))
			_ = tx.Model(&a).Update("cents", 3).Error
			err := tx.Model(&a).Update("cents", 4).Error
			f.wants(err, txlock.ErrTxAborted)
			return nil
		})
		f.wants(err, txlock.ErrTxAborted)
		f.wantsCents("a", 1)
		f.must(db.Model(&a).Update("cents", 5).Error)
		f.wantsCents("a", 5)
	})
}
