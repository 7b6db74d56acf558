package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
)

// newCall begins the call that r makes.
func newCall(r *http.Request, now time.Time) *api.Call {
	call := &api.Call{
		RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: now,
		UserAgent: r.UserAgent(), Host: r.Host, Referer: r.Referer(),
		Caller: api.Principal{Type: api.Unknown},
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		call.SourceIP = c.ip
	}
	if r.TLS != nil {
		call.TLS = tlsDetails(r.TLS)
	}
	return call
}

// conn is what all calls of a connection have in common.
type conn struct{ ip string }

type connKey struct{}

// withConn is the ConnContext of the HTTP server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	ip, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		ip = c.RemoteAddr().String()
	}
	return context.WithValue(ctx, connKey{}, &conn{ip: ip})
}

func tlsDetails(s *tls.ConnectionState) *api.TLS {
	return &api.TLS{
		Version:     strings.Replace(tls.VersionName(s.Version), "TLS ", "TLSv", 1),
		CipherSuite: tls.CipherSuiteName(s.CipherSuite),
		KeyExchange: groupName(s.CurveID),
	}
}

// groupName is the name of a TLS group in IANA's registry, which CloudTrail uses.
// Go has names of its own for the older ones.
// https://www.iana.org/assignments/tls-parameters/tls-parameters.xhtml#tls-parameters-8
func groupName(id tls.CurveID) string {
	switch id {
	case tls.X25519:
		return "x25519"
	case tls.CurveP256:
		return "secp256r1"
	case tls.CurveP384:
		return "secp384r1"
	case tls.CurveP521:
		return "secp521r1"
	}
	return id.String()
}
