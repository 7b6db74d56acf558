package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/kagimori/kagimori/internal/cli"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("configuration file %s is larger than %s", name, cli.FormatBytes(maxFile))
	}
	return data, nil
}

// parse puts the settings of a configuration file into c. The file is TOML
// (https://toml.io/en/v1.0.0): one "name = value" for each setting, no tables.
func parse(c *Config, name string, data []byte) error {
	var file map[string]toml.Primitive
	meta, err := toml.Decode(string(data), &file)
	if err != nil {
		return inFile(name, "", err)
	}
	seen := make(map[string]bool)
	for _, key := range meta.Keys() { // in the order of the file
		top := key[0]
		if seen[top] {
			continue // a further key of a table
		}
		seen[top] = true
		if err := meta.PrimitiveDecode(file[top], &entry{c, top}); err != nil {
			return inFile(name, top, err)
		}
	}
	return nil
}

// entry is one setting of a file. The decoder adds the line to its errors.
type entry struct {
	config *Config
	name   string
}

var errUnknown = errors.New("unknown setting")

// UnmarshalTOML implements toml.Unmarshaler.
func (e *entry) UnmarshalTOML(v any) error {
	s := lookup(e.name)
	if s == nil {
		return errUnknown
	}
	target := s.in(e.config)
	_, wantBool := target.(*toggle)
	_, wantNumber := target.(*number)
	_, wantSize := target.(*size)
	switch v := v.(type) {
	case string:
		if !wantBool && !wantNumber {
			return target.Set(v)
		}
		return fmt.Errorf("must be %s without quotes, not %q", target.want(), v)
	case bool:
		if wantBool {
			return target.Set(fmt.Sprint(v))
		}
		return fmt.Errorf("must be %s, not %t", target.want(), v)
	case int64:
		if wantNumber || wantSize {
			return target.Set(fmt.Sprint(v))
		}
		return fmt.Errorf("must be %s, not the number %d", target.want(), v)
	case map[string]any:
		return fmt.Errorf("must be %s, not a table", target.want())
	case []any, []map[string]any:
		return fmt.Errorf("must be %s, not an array", target.want())
	default:
		return fmt.Errorf("must be %s, not %v", target.want(), v)
	}
}

// inFile says where in a file an error is, and which setting was meant by an
// unknown one.
func inFile(file, setting string, err error) error {
	where, message := file, err.Error()
	var at toml.ParseError
	if errors.As(err, &at) {
		message = at.Message
		if at.Position.Line > 0 { // not known for a table that only dotted keys imply
			where = fmt.Sprintf("%s line %d", file, at.Position.Line)
		}
	}
	switch {
	case setting == "":
		return fmt.Errorf("%s: %s", where, message)
	case message != errUnknown.Error():
		return fmt.Errorf("%s: %s %s", where, setting, message)
	case setting == "config":
		return fmt.Errorf("%s: config is a flag only; a file cannot name another one", where)
	default:
		return fmt.Errorf("unknown setting %q in %s; did you mean %q?", setting, where, cli.Closest(setting, names()))
	}
}

// TOML is the settings as a configuration file with every setting described;
// those at their default are commented out. What comes from the environment is
// not in it.
func (c *Config) TOML() string {
	var b strings.Builder
	b.WriteString("# Settings of kagimori serve. A flag of the same name goes before what is set here.\n")
	standard := Default()
	for _, s := range settings {
		line := fmt.Sprintf("%s = %s\n", s.name, literal(s.in(c)))
		fmt.Fprintf(&b, "\n# %s.\n", strings.ReplaceAll(s.doc, "`", ""))
		if s.in(c).String() == s.in(standard).String() {
			b.WriteString("# ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// literal writes a value as TOML.
func literal(v value) string {
	switch v.(type) {
	case *toggle, *number:
		return v.String()
	}
	// The other kinds hold no control characters: two escapes are enough.
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.String()) + `"`
}
