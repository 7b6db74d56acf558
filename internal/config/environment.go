package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Secret is a string that no format verb and no JSON shows. Convert it to a
// string to use it.
type Secret string

// Format implements fmt.Formatter.
func (s Secret) Format(w fmt.State, _ rune) { fmt.Fprint(w, "[secret]") }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// variable is one environment variable.
type variable struct {
	name    string
	want    string
	pattern *regexp.Regexp
	doc     string
	set     func(*Config, string)
}

// environment lists the variables that are read. Others that begin with
// KAGIMORI_ are no mistake: Kubernetes sets some for a service of that name.
//
// The access key id is as in
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
var environment = []variable{
	{"KAGIMORI_ACCOUNT_ID", "12 digits", regexp.MustCompile(`^[0-9]{12}$`),
		"id of the first account",
		func(c *Config, v string) { c.AccountID = v }},
	{"KAGIMORI_ROOT_ACCESS_KEY_ID", "16 to 128 letters, digits or underscores", regexp.MustCompile(`^[0-9A-Za-z_]{16,128}$`),
		"access key id of its root",
		func(c *Config, v string) { c.AccessKeyID = v }},
	{"KAGIMORI_ROOT_SECRET_ACCESS_KEY", "16 to 128 ASCII characters without spaces", regexp.MustCompile(`^[!-~]{16,128}$`),
		"secret access key of its root",
		func(c *Config, v string) { c.SecretAccessKey = Secret(v) }},
}

// readEnvironment never shows a value in an error: the secret may have been put
// into the wrong variable.
func (c *Config) readEnvironment(getenv func(string) string) error {
	for _, v := range environment {
		value := getenv(v.name)
		if value == "" {
			continue
		}
		if !v.pattern.MatchString(value) {
			return fmt.Errorf("environment variable %s must be %s", v.name, v.want)
		}
		v.set(c, value)
	}
	return nil
}

// Doc is what help says about where settings come from.
func Doc() string {
	var b strings.Builder
	b.WriteString("Every flag can also be set in a file given with --config; a flag goes before the file.\n\n" +
		"Environment, for the first start on an empty data folder (random where not set):\n")
	for _, v := range environment {
		fmt.Fprintf(&b, "  %-32s %s, %s\n", v.name, v.doc, v.want)
	}
	return b.String()
}
