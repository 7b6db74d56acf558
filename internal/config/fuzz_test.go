package config

import (
	"strings"
	"testing"
)

// FuzzParse checks that any file is either refused with one line that names it,
// or gives settings that print as a file which gives the same settings.
func FuzzParse(f *testing.F) {
	f.Add(Default().TOML())
	f.Add(strings.ReplaceAll(Default().TOML(), "\n# ", "\n"))
	f.Add("data = '/srv'\nlisten = \"[::1]:0\"\ntls-auto = true\nmax-connections = 0x10\njournal-segment-size = 1048576")
	f.Add("lisen = 1")
	f.Add("[listen]\nhost = 'a'")
	f.Add("a.b = [1, {c = 2026-01-02T03:04:05Z}]\n[[d]]\n")
	f.Add("\"\" = '\\u0000'\ndata = \"\\u0000\"")
	f.Fuzz(func(t *testing.T, file string) {
		c := Default()
		if err := parse(c, "kagimori.toml", []byte(file)); err != nil {
			if !strings.Contains(err.Error(), "kagimori.toml") {
				t.Errorf("error does not name the file: %v", err)
			}
			return
		}
		again := Default()
		if err := parse(again, "kagimori.toml", []byte(c.TOML())); err != nil || *again != *c {
			t.Errorf("%+v prints as\n%s\nwhich gives %+v, %v", c, c.TOML(), again, err)
		}
	})
}
