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
		Service: serviceName, RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: now,
		UserAgent: r.UserAgent(), Host: r.Host,
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
		KeyExchange: s.CurveID.String(),
	}
}
