package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"slices"
	"time"
)

// verifyChain verifies the certificates of a document and returns the one that signed
// it. The chain is the one that the document lays out, and no other that could be built
// of its certificates.
func (v *Verifier) verifyChain(p *payload, at time.Time) (*x509.Certificate, error) {
	chain, err := parseChain(p)
	if err != nil {
		return nil, err
	}
	leaf, authorities := chain[0], chain[1:]
	root := authorities[len(authorities)-1]
	if !slices.ContainsFunc(v.roots, root.Equal) {
		return nil, invalid("has a certificate chain that does not end in a root trusted here.")
	}
	for _, certificate := range chain {
		if err := checkCertificate(certificate, at); err != nil {
			return nil, err
		}
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, invalid("is signed by a certificate that is not for signing documents.")
	}
	for _, authority := range authorities {
		if !authority.IsCA || authority.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, invalid("has a certificate in its cabundle that is not for signing certificates.")
		}
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	options.Roots.AddCert(root)
	for _, authority := range authorities[:len(authorities)-1] {
		options.Intermediates.AddCert(authority)
	}
	chains, err := leaf.Verify(options)
	laidOut := func(found []*x509.Certificate) bool {
		return slices.EqualFunc(found, chain, (*x509.Certificate).Equal)
	}
	if err != nil || !slices.ContainsFunc(chains, laidOut) {
		return nil, invalid("has certificates that do not form a valid chain.")
	}
	return leaf, nil
}

// parseChain is the chain of a document, the signing certificate first and the root last.
func parseChain(p *payload) ([]*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate([]byte(p.Certificate))
	if err != nil {
		return nil, invalid("has a certificate that is not an X.509 certificate.")
	}
	chain := []*x509.Certificate{leaf}
	for _, der := range slices.Backward(p.CABundle) {
		authority, err := x509.ParseCertificate([]byte(der))
		if err != nil {
			return nil, invalid("has a certificate in its cabundle that is not an X.509 certificate.")
		}
		// Names in order keep the search for a chain short.
		if !bytes.Equal(chain[len(chain)-1].RawIssuer, authority.RawSubject) {
			return nil, invalid("has certificates that do not form a valid chain.")
		}
		chain = append(chain, authority)
	}
	return chain, nil
}

func checkCertificate(c *x509.Certificate, at time.Time) error {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() || c.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		return invalid("has a certificate that is not of ECDSA with P-384 and SHA-384.")
	}
	if at.Before(c.NotBefore) {
		return invalid("has a certificate that is valid only from %s on.", c.NotBefore.UTC().Format(time.RFC3339))
	}
	if at.After(c.NotAfter) {
		return invalid("has a certificate that expired at %s.", c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
