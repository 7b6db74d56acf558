package eventindex

import (
	"bytes"
	"encoding/json"
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
	Kind        string // eventType: AwsApiCall
	ErrorCode   string
	ReadOnly    bool
	Username    string // of a user; of a role the session's name; of a root user "root"
	AccessKeyID string
	Resources   []Resource
}

// Resource is something that an event is about.
type Resource struct{ Type, ARN string }

// Parse reads an audit record: compact JSON, as package audit writes it. It is false for
// anything else.
func Parse(record []byte) (*Event, bool) {
	var v view
	if !v.parse(record) {
		return nil, false
	}
	return v.event(), true
}

// view is an Event whose texts lie in its record. It is made of every record that there is,
// so one view serves for all of them, and leaves no garbage.
type view struct {
	account, region, id, name, source, kind, errorCode, username, accessKeyID []byte

	readOnly  bool
	resources []struct{ kind, arn []byte }
	unix      int64  // time, in seconds
	at        string // the eventTime that says it
}

// parse makes v the view of a record; it is false, and v nothing, if that is no event.
func (v *view) parse(record []byte) bool {
	*v = view{resources: v.resources[:0], unix: v.unix, at: v.at}
	var kind, principal, at []byte
	ok := members(record, func(name, value []byte) {
		switch string(name) {
		case "recipientAccountId":
			v.account = text(value)
		case "awsRegion":
			v.region = text(value)
		case "eventTime":
			at = text(value)
		case "eventID":
			v.id = text(value)
		case "eventName":
			v.name = text(value)
		case "eventSource":
			v.source = text(value)
		case "eventType":
			v.kind = text(value)
		case "errorCode":
			v.errorCode = text(value)
		case "readOnly":
			v.readOnly = string(value) == "true"
		case "userIdentity":
			members(value, func(name, value []byte) {
				switch string(name) {
				case "type":
					kind = text(value)
				case "principalId":
					principal = text(value)
				case "userName":
					v.username = text(value)
				case "accessKeyId":
					v.accessKeyID = text(value)
				}
			})
		case "resources":
			items(value, func(item []byte) {
				var r struct{ kind, arn []byte }
				members(item, func(name, value []byte) {
					switch string(name) {
					case "type":
						r.kind = text(value)
					case "ARN":
						r.arn = text(value)
					}
				})
				v.resources = append(v.resources, r)
			})
		}
	})
	switch string(kind) {
	case "Root":
		v.username = []byte("root")
	case "AssumedRole":
		_, v.username, _ = bytes.Cut(principal, []byte(":"))
	}
	if string(at) != v.at { // many events have the time of the one before
		t, err := time.Parse(time.RFC3339, string(at))
		if err != nil {
			return false
		}
		v.unix, v.at = t.Unix(), string(at)
	}
	return ok && len(at) > 0 && len(v.id) > 0
}

// event is what v shows, with memory of its own.
func (v *view) event() *Event {
	e := &Event{Account: string(v.account), Region: string(v.region), Time: time.Unix(v.unix, 0).UTC(), ID: string(v.id), Name: string(v.name),
		Source: string(v.source), Kind: string(v.kind), ErrorCode: string(v.errorCode), ReadOnly: v.readOnly, Username: string(v.username), AccessKeyID: string(v.accessKeyID)}
	for _, r := range v.resources {
		e.Resources = append(e.Resources, Resource{string(r.kind), string(r.arn)})
	}
	return e
}

// members gives each member of a compact JSON object to f. It is false if b is none.
func members(b []byte, f func(name, value []byte)) bool {
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
		f(b[1:n-1], b[n+1:][:v])
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

// text is the value of a JSON string, nil for anything else.
func text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return nil
	}
	return []byte(s)
}
