package wire

import (
	"encoding/base64"
	"encoding/xml"
	"reflect"
	"strconv"
	"time"

	"github.com/kagimori/kagimori/internal/awserr"
)

// appendXML appends the body of an answer in the Query protocol. Members that are
// nil, and empty enums, are left out; an empty list is an empty element. Times are
// ISO 8601 in whole seconds, blobs are base64.
func appendXML(dst []byte, op *Operation, out any, requestID string) []byte {
	dst = appendStart(dst, op.Name, "Response", op.Service.namespace)
	if v := reflect.ValueOf(out); v.IsValid() {
		if s := shapeOf(v.Type()); !s.noBody && !s.absent(v) {
			dst = appendElement(dst, op.Name+"Result", s, v)
		}
	}
	dst = append(dst, "<ResponseMetadata><RequestId>"...)
	dst = appendEscaped(dst, requestID)
	dst = append(dst, "</RequestId></ResponseMetadata></"...)
	dst = append(dst, op.Name...)
	return append(dst, "Response>\n"...)
}

// appendXMLError appends the body of an error answer in the Query protocol.
func appendXMLError(dst []byte, namespace string, e *awserr.Error, requestID string) (body []byte, status int) {
	code, status := e.Query()
	fault := "Sender"
	if status >= 500 {
		fault = "Receiver"
	}
	dst = appendStart(dst, "Error", "Response", namespace)
	dst = append(dst, "<Error><Type>"...)
	dst = append(dst, fault...)
	dst = append(dst, "</Type><Code>"...)
	dst = append(dst, code...)
	dst = append(dst, "</Code><Message>"...)
	dst = appendEscaped(dst, e.Message)
	dst = append(dst, "</Message></Error><RequestId>"...)
	dst = appendEscaped(dst, requestID)
	return append(dst, "</RequestId></ErrorResponse>\n"...), status
}

func appendStart(dst []byte, name, suffix, namespace string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = append(dst, suffix...)
	dst = append(dst, ` xmlns="`...)
	dst = append(dst, namespace...)
	return append(dst, `">`...)
}

// appendElement appends a value that is not absent, as an element of that name.
func appendElement(dst []byte, name string, s *shape, v reflect.Value) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	start := len(dst)
	dst = append(dst, '>')
	dst = appendContent(dst, s, v)
	if len(dst) == start+1 {
		return append(dst[:start], "/>"...)
	}
	dst = append(dst, "</"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

func appendContent(dst []byte, s *shape, v reflect.Value) []byte {
	if s.pointer {
		v = v.Elem()
	}
	switch s.kind {
	case text:
		return appendEscaped(dst, v.String())
	case boolean:
		return strconv.AppendBool(dst, v.Bool())
	case integer:
		return strconv.AppendInt(dst, v.Int(), 10)
	case timestamp:
		return v.Interface().(time.Time).UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
	case blob:
		return base64.StdEncoding.AppendEncode(dst, v.Bytes())
	case list:
		for i := range v.Len() {
			dst = appendElement(dst, "member", s.item, v.Index(i))
		}
	case mapping:
		for _, key := range sortedKeys(v) {
			dst = append(dst, "<entry><key>"...)
			dst = appendEscaped(dst, key.String())
			dst = append(dst, "</key>"...)
			dst = appendElement(dst, "value", s.item, v.MapIndex(key))
			dst = append(dst, "</entry>"...)
		}
	case structure:
		for i := range s.members {
			m := &s.members[i]
			if f := v.Field(m.field); !m.shape.absent(f) {
				dst = appendElement(dst, m.name, m.shape, f)
			}
		}
	}
	return dst
}

// appendEscaped appends s as XML 1.0 can carry it: what it cannot, control
// characters and invalid UTF-8, is U+FFFD.
func appendEscaped(dst []byte, s string) []byte {
	w := writer(dst)
	xml.EscapeText(&w, []byte(s)) // does not fail: the writer does not
	return w
}

// writer appends what is written to it.
type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
