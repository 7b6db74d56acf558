package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/aead"
)

func tinkEnvelope(ctx context.Context, args []string) error {
	client, err := awskms.NewClientWithOptions(ctx, "aws-kms://"+args[0])
	if err != nil {
		return err
	}
	remote, err := client.GetAEAD("aws-kms://" + args[0])
	if err != nil {
		return err
	}
	envelope := aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), remote)
	sealed, err := envelope.Encrypt([]byte("a document"), []byte("its name"))
	if err != nil {
		return err
	}
	opened, err := envelope.Decrypt(sealed, []byte("its name"))
	if err != nil {
		return err
	}
	if string(opened) != "a document" || bytes.Contains(sealed, opened) {
		return errors.New("the document is not what was sealed")
	}
	if _, err := envelope.Decrypt(sealed, []byte("another name")); err == nil {
		return errors.New("the document opens under another name")
	}
	direct, err := remote.Encrypt([]byte("a key"), []byte("its name"))
	if err != nil {
		return err
	}
	if _, err := remote.Decrypt(direct, []byte("another name")); err == nil {
		return errors.New("the key opens under another name")
	}
	if opened, err := remote.Decrypt(direct, []byte("its name")); err != nil || string(opened) != "a key" {
		return errors.Join(errors.New("the key is not what was sealed"), err)
	}
	return nil
}
