package testserver

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDebianMirror(t *testing.T) {
	const stanzas = `# a comment
Types: deb
URIs: http://vendor.example/debian
Suites: nodistro
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb deb-src
URIs:
 http://mirror.example/debian
 http://other.example/debian
Suites: bookworm bookworm-updates
# in between
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`
	const lines = `# deb http://comment.example/debian bookworm main
deb cdrom:[Debian 12]/ bookworm main
deb-src http://source.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb https://vendor.example/linux/debian bookworm stable
deb [arch=amd64 signed-by=/some/key.gpg] https://line.example/debian/ bookworm main # here
`
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":                 {want: ""},
		"stanzas":              {files: map[string]string{"sources.list.d/debian.sources": stanzas}, want: "http://mirror.example/debian"},
		"lines":                {files: map[string]string{"sources.list": lines}, want: "https://line.example/debian/"},
		"lines in a part":      {files: map[string]string{"sources.list.d/main.list": lines}, want: "https://line.example/debian/"},
		"sources.list first":   {files: map[string]string{"sources.list": lines, "sources.list.d/debian.sources": stanzas}, want: "https://line.example/debian/"},
		"not a source":         {files: map[string]string{"sources.list.d/debian.sources.bak": stanzas}, want: ""},
		"another distribution": {files: map[string]string{"sources.list": "deb http://archive.example/ubuntu noble main universe\n"}, want: ""},
		"Debian's before a vendor's": {
			files: map[string]string{
				"sources.list.d/a.list":         "deb http://vendor.example/repo/11.4/debian bookworm main\n",
				"sources.list.d/debian.sources": stanzas,
			},
			want: "http://mirror.example/debian",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tc.files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := debianMirror(dir); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
