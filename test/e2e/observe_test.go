package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// observer is a transport that tells calls that were answered from those that were
// not: only an answer that arrived whole is one.
type observer struct {
	base http.RoundTripper

	mu       sync.Mutex
	answered []string          // x-amzn-RequestId of the answers
	onAnswer func(answers int) // called after each one; may be nil
}

func newObserver() *observer {
	return &observer{base: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// exchange is what is known of one call. It travels in the call's context.
type exchange struct {
	mark     string // sent as User-Agent, by which the audit record is found
	answered bool
}

type exchangeKey struct{}

func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	ex, _ := r.Context().Value(exchangeKey{}).(*exchange)
	if ex != nil && ex.mark != "" {
		r.Header.Set("User-Agent", ex.mark) // is not signed
	}
	res, err := o.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	if ex != nil {
		ex.answered = true
	}
	o.mu.Lock()
	o.answered = append(o.answered, res.Header.Get("X-Amzn-Requestid"))
	n, tell := len(o.answered), o.onAnswer
	o.mu.Unlock()
	if tell != nil {
		tell(n)
	}
	return res, nil
}

// take gives the ids of the requests answered since it was called last.
func (o *observer) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := o.answered
	o.answered = nil
	return ids
}

// do makes a call and tells whether it was answered, be it with an error.
func do[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*kms.Options)) (*Out, error), in *In, mark string) (out *Out, answered bool, err error) {
	ex := &exchange{mark: mark}
	out, err = call(context.WithValue(ctx, exchangeKey{}, ex), in)
	return out, ex.answered, err
}
