module github.com/gox-helix/gox-helix/proof

go 1.26.0

replace github.com/gox-helix/gox-helix => ../

require (
	github.com/go-sql-driver/mysql v1.10.1
	github.com/gox-helix/gox-helix v0.0.0
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require filippo.io/edwards25519 v1.2.0 // indirect
