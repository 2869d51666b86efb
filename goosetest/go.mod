module github.com/gox-helix/gox-helix/goosetest

go 1.26.0

replace github.com/gox-helix/gox-helix => ../

require (
	github.com/go-sql-driver/mysql v1.10.1
	github.com/gox-helix/gox-helix v0.0.0
	github.com/pressly/goose/v3 v3.29.0
	go.uber.org/goleak v1.3.0
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.24.0 // indirect
)
