package kms

import (
	"strings"
	"sync"

	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/secmem"
)

// pairPool makes RSA key pairs in advance, since one takes up to seconds: from the
// first request for a spec on, a few are kept ready. It is safe for concurrent use.
type pairPool struct {
	mu     sync.Mutex
	ready  map[string][][]byte // PKCS #8, by spec
	making map[string]bool
	closed bool
	makers sync.WaitGroup
}

// pairsReady is how many pairs of a spec are kept.
const pairsReady = 4

// take is a new private key of a spec, in PKCS #8. The caller zeroes it.
func (p *pairPool) take(spec *keymaterial.Spec) ([]byte, error) {
	if !strings.HasPrefix(spec.Name, "RSA_") {
		return spec.Generate()
	}
	p.mu.Lock()
	var pair []byte
	if n := len(p.ready[spec.Name]); n > 0 {
		pair = p.ready[spec.Name][n-1]
		p.ready[spec.Name] = p.ready[spec.Name][:n-1]
	}
	if !p.closed && !p.making[spec.Name] {
		if p.making == nil {
			p.making, p.ready = map[string]bool{}, map[string][][]byte{}
		}
		p.making[spec.Name] = true
		p.makers.Add(1)
		go p.fill(spec)
	}
	p.mu.Unlock()
	if pair != nil {
		return pair, nil
	}
	return spec.Generate()
}

// fill makes pairs of a spec until there are enough.
func (p *pairPool) fill(spec *keymaterial.Spec) {
	defer p.makers.Done()
	for {
		p.mu.Lock()
		if p.closed || len(p.ready[spec.Name]) >= pairsReady {
			p.making[spec.Name] = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		pair, err := spec.Generate()
		p.mu.Lock()
		if err != nil || p.closed {
			secmem.Zero(pair)
		} else {
			p.ready[spec.Name] = append(p.ready[spec.Name], pair)
		}
		p.mu.Unlock()
	}
}

// close zeroes what is ready.
func (p *pairPool) close() {
	p.mu.Lock()
	p.closed = true
	for spec, pairs := range p.ready {
		for _, pair := range pairs {
			secmem.Zero(pair)
		}
		delete(p.ready, spec)
	}
	p.mu.Unlock()
	p.makers.Wait()
}
