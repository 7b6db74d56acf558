package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/awskms"
)

func stepCertificate(ctx context.Context, _ []string) error {
	manager, err := awskms.New(ctx, apiv1.Options{URI: "awskms:"})
	if err != nil {
		return err
	}
	defer manager.Close()
	for algorithm, bits := range map[apiv1.SignatureAlgorithm]int{
		apiv1.ECDSAWithSHA256: 0, apiv1.ECDSAWithSHA384: 0, apiv1.ECDSAWithSHA512: 0, apiv1.SHA256WithRSA: 2048, apiv1.SHA256WithRSAPSS: 3072, apiv1.PureEd25519: 0,
	} {
		made, err := manager.CreateKey(&apiv1.CreateKeyRequest{Name: "awskms:name=ca", SignatureAlgorithm: algorithm, Bits: bits})
		if err != nil {
			return err
		}
		signer, err := manager.CreateSigner(&made.CreateSignerRequest)
		if err != nil {
			return err
		}
		if err := certify(signer); err != nil {
			return fmt.Errorf("%s: %w", algorithm, err)
		}
	}
	return nil
}

// certify makes a CA certificate and one that it issued, and verifies the chain.
func certify(ca crypto.Signer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root, err := issue(template, template, ca.Public(), ca)
	if err != nil {
		return err
	}
	leaf, err := issue(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"shop.example"}, NotBefore: now, NotAfter: now.Add(time.Hour)},
		root, key.Public(), ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "shop.example"})
	return err
}

func issue(template, parent *x509.Certificate, public crypto.PublicKey, ca crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, ca)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
