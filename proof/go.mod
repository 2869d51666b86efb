module github.com/gox-helix/gox-helix/proof

go 1.26.0

replace github.com/gox-helix/gox-helix => ../

require (
	github.com/go-sql-driver/mysql v1.10.1
	github.com/gox-helix/gox-helix v0.0.0
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/DATA-DOG/go-sqlmock v1.5.2 // indirect
	github.com/anishathalye/porcupine v1.3.1 // indirect
	golang.org/x/sys v0.46.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)
