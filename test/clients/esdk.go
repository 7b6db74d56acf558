package main

import (
	"context"
	"fmt"
	"os"

	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	esdk "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	esdktypes "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func encryptionSDK(ctx context.Context, args []string) error {
	what, key, source, target := args[0], args[1], args[2], args[3]
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	providers, err := mpl.NewClient(mpltypes.MaterialProvidersConfig{})
	if err != nil {
		return err
	}
	keyring, err := providers.CreateAwsKmsKeyring(ctx, mpltypes.CreateAwsKmsKeyringInput{KmsClient: kms.NewFromConfig(cfg), KmsKeyId: key})
	if err != nil {
		return err
	}
	client, err := esdk.NewClient(esdktypes.AwsEncryptionSdkConfig{})
	if err != nil {
		return err
	}
	in, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	var out []byte
	switch what {
	case "encrypt":
		sealed, err := client.Encrypt(ctx, esdktypes.EncryptInput{Plaintext: in, Keyring: keyring, EncryptionContext: map[string]string{"purpose": "archive"}})
		if err != nil {
			return err
		}
		out = sealed.Ciphertext
	case "decrypt":
		opened, err := client.Decrypt(ctx, esdktypes.DecryptInput{Ciphertext: in, Keyring: keyring})
		if err != nil {
			return err
		}
		out = opened.Plaintext
	default:
		return fmt.Errorf("%s is neither encrypt nor decrypt", what)
	}
	return os.WriteFile(target, out, 0o600)
}
