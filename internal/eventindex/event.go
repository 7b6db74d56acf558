package eventindex

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Event is what can be looked up of an audit record.
type Event struct {
	Account     string // the recipient
	Region      string
	Time        time.Time
	ID          string
	Name        string
	Source      string
	ReadOnly    bool
	Username    string // of a user; of a role the session's name; of a root user "root"
	AccessKeyID string
	Resources   []Resource
}

// Resource is something that an event is about.
type Resource struct{ Type, ARN string }

// Parse reads an audit record: compact JSON, as package audit writes it. It is false for
// anything else. It is done once for every record that there is, so it decodes no more
// than it needs.
func Parse(record []byte) (*Event, bool) {
	e := new(Event)
	var kind, principal, at string
	ok := members(record, func(name string, value []byte) {
		switch name {
		case "recipientAccountId":
			e.Account = text(value)
		case "awsRegion":
			e.Region = text(value)
		case "eventTime":
			at = text(value)
		case "eventID":
			e.ID = text(value)
		case "eventName":
			e.Name = text(value)
		case "eventSource":
			e.Source = text(value)
		case "readOnly":
			e.ReadOnly = string(value) == "true"
		case "userIdentity":
			members(value, func(name string, value []byte) {
				switch name {
				case "type":
					kind = text(value)
				case "principalId":
					principal = text(value)
				case "userName":
					e.Username = text(value)
				case "accessKeyId":
					e.AccessKeyID = text(value)
				}
			})
		case "resources":
			items(value, func(item []byte) {
				var r Resource
				members(item, func(name string, value []byte) {
					switch name {
					case "type":
						r.Type = text(value)
					case "ARN":
						r.ARN = text(value)
					}
				})
				e.Resources = append(e.Resources, r)
			})
		}
	})
	switch kind {
	case "Root":
		e.Username = "root"
	case "AssumedRole":
		_, e.Username, _ = strings.Cut(principal, ":")
	}
	var err error
	e.Time, err = time.Parse(time.RFC3339, at)
	return e, ok && err == nil && e.ID != ""
}

// members gives each member of a compact JSON object to f. It is false if b is none.
func members(b []byte, f func(name string, value []byte)) bool {
	return each(b, '{', '}', func(b []byte) int {
		if b[0] != '"' {
			return -1
		}
		n := stringLen(b)
		if n < 2 || n >= len(b) || b[n] != ':' {
			return -1
		}
		v := valueLen(b[n+1:])
		if v <= 0 {
			return -1
		}
		f(string(b[1:n-1]), b[n+1:][:v])
		return n + 1 + v
	})
}

// items gives each item of a compact JSON array to f.
func items(b []byte, f func(item []byte)) bool {
	return each(b, '[', ']', func(b []byte) int {
		n := valueLen(b)
		if n > 0 {
			f(b[:n])
		}
		return n
	})
}

// each goes through what commas part between two brackets. part is how much of what is
// left the next one takes, -1 if it is not right.
func each(b []byte, first, last byte, part func(b []byte) int) bool {
	if len(b) < 2 || b[0] != first {
		return false
	}
	if b[1] == last {
		return len(b) == 2
	}
	for b = b[1:]; ; b = b[1:] {
		n := part(b)
		if n <= 0 || n >= len(b) {
			return false
		}
		switch b = b[n:]; b[0] {
		case last:
			return len(b) == 1
		case ',':
		default:
			return false
		}
	}
}

// valueLen is the length of the JSON value that b begins with, -1 if it has no end.
func valueLen(b []byte) int {
	if b[0] == '"' {
		return stringLen(b)
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringLen(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i // behind a number, true, false or null
			} else if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// stringLen is the length of the JSON string that b begins with, -1 if it has no end.
func stringLen(b []byte) int {
	for i := 1; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// text is the value of a JSON string, "" for anything else.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}
