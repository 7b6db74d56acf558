package keymaterial

import "slices"

// Usages of keys, KeyUsage in the API.
const (
	EncryptDecrypt         = "ENCRYPT_DECRYPT"
	SignVerify             = "SIGN_VERIFY"
	GenerateVerifyMAC      = "GENERATE_VERIFY_MAC"
	KeyAgreement           = "KEY_AGREEMENT"
	EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE"
)

// SymmetricDefault is the spec of symmetric encryption keys, and the name of their
// algorithm.
const SymmetricDefault = "SYMMETRIC_DEFAULT"

// Spec is one row of the table of key specs.
// https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
type Spec struct {
	Name   string
	Usages []string
	// The algorithms of each usage, in AWS's order.
	Encryption, Signing, MAC, Agreement, Encapsulation []string

	family family // of an asymmetric key; nil for others
	size   int    // of an HMAC key, in bytes
}

// Algorithms.
var (
	rsaEncryption = []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
	rsaSigning    = []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512"}
	ecdh            = []string{"ECDH"}
	mlkemAlgorithms = []string{"ML_KEM"}
	mldsaSigning    = []string{"ML_DSA_SHAKE_256"}
)

// Specs are all key specs.
var Specs = []*Spec{
	{Name: SymmetricDefault, Usages: []string{EncryptDecrypt}, Encryption: []string{SymmetricDefault}},
	{Name: "RSA_2048", Usages: []string{EncryptDecrypt, SignVerify}, Encryption: rsaEncryption, Signing: rsaSigning, family: rsaFamily(2048)},
	{Name: "RSA_3072", Usages: []string{EncryptDecrypt, SignVerify}, Encryption: rsaEncryption, Signing: rsaSigning, family: rsaFamily(3072)},
	{Name: "RSA_4096", Usages: []string{EncryptDecrypt, SignVerify}, Encryption: rsaEncryption, Signing: rsaSigning, family: rsaFamily(4096)},
	{Name: "ECC_NIST_P256", Usages: []string{SignVerify, KeyAgreement}, Signing: []string{"ECDSA_SHA_256"}, Agreement: ecdh, family: nistP256},
	{Name: "ECC_NIST_P384", Usages: []string{SignVerify, KeyAgreement}, Signing: []string{"ECDSA_SHA_384"}, Agreement: ecdh, family: nistP384},
	{Name: "ECC_NIST_P521", Usages: []string{SignVerify, KeyAgreement}, Signing: []string{"ECDSA_SHA_512"}, Agreement: ecdh, family: nistP521},
	{Name: "ECC_SECG_P256K1", Usages: []string{SignVerify}, Signing: []string{"ECDSA_SHA_256"}, family: secp256k1Family{}},
	{Name: "ECC_NIST_EDWARDS25519", Usages: []string{SignVerify}, Signing: []string{"ED25519_SHA_512", "ED25519_PH_SHA_512"}, family: ed25519Family{}},
	{Name: "SM2", Usages: []string{EncryptDecrypt, SignVerify, KeyAgreement}, Encryption: []string{"SM2PKE"}, Signing: []string{"SM2DSA"}, Agreement: ecdh, family: sm2Family{}},
	{Name: "HMAC_224", Usages: []string{GenerateVerifyMAC}, MAC: []string{"HMAC_SHA_224"}, size: 28},
	{Name: "HMAC_256", Usages: []string{GenerateVerifyMAC}, MAC: []string{"HMAC_SHA_256"}, size: 32},
	{Name: "HMAC_384", Usages: []string{GenerateVerifyMAC}, MAC: []string{"HMAC_SHA_384"}, size: 48},
	{Name: "HMAC_512", Usages: []string{GenerateVerifyMAC}, MAC: []string{"HMAC_SHA_512"}, size: 64},
	{Name: "ML_DSA_44", Usages: []string{SignVerify}, Signing: mldsaSigning, family: mldsa44},
	{Name: "ML_DSA_65", Usages: []string{SignVerify}, Signing: mldsaSigning, family: mldsa65},
	{Name: "ML_DSA_87", Usages: []string{SignVerify}, Signing: mldsaSigning, family: mldsa87},
	{Name: "ML_KEM_512", Usages: []string{EncapsulateDecapsulate}, Encapsulation: mlkemAlgorithms, family: mlkem512},
	{Name: "ML_KEM_768", Usages: []string{EncapsulateDecapsulate}, Encapsulation: mlkemAlgorithms, family: mlkem768},
	{Name: "ML_KEM_1024", Usages: []string{EncapsulateDecapsulate}, Encapsulation: mlkemAlgorithms, family: mlkem1024},
}

// SpecNamed is the spec of that name, nil if there is none.
func SpecNamed(name string) *Spec {
	i := slices.IndexFunc(Specs, func(s *Spec) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return Specs[i]
}

// Asymmetric tells whether keys of the spec have a public key.
func (s *Spec) Asymmetric() bool { return s.family != nil }

// Generate makes new random material. The caller zeroes it when done. That of an
// asymmetric key is PKCS #8 in DER (RFC 5208), of others it is the key itself.
func (s *Spec) Generate() ([]byte, error) {
	switch {
	case s.family != nil:
		return s.family.generate()
	case s.size != 0:
		return randomBytes(s.size), nil
	}
	return GenerateSymmetric(), nil
}
