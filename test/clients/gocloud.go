package main

import (
	"bytes"
	"context"
	"errors"

	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"
)

func goCloud(ctx context.Context, args []string) error {
	keeper, err := secrets.OpenKeeper(ctx, "awskms:///"+args[0]+"?context_app=shop")
	if err != nil {
		return err
	}
	defer keeper.Close()
	sealed, err := keeper.Encrypt(ctx, []byte("a password"))
	if err != nil {
		return err
	}
	opened, err := keeper.Decrypt(ctx, sealed)
	if err != nil {
		return err
	}
	if string(opened) != "a password" || bytes.Contains(sealed, opened) {
		return errors.New("the secret is not what was sealed")
	}
	other, err := secrets.OpenKeeper(ctx, "awskms:///"+args[0]+"?context_app=bank")
	if err != nil {
		return err
	}
	defer other.Close()
	if _, err := other.Decrypt(ctx, sealed); gcerrors.Code(err) != gcerrors.InvalidArgument {
		return errors.Join(errors.New("want InvalidArgument for another context"), err)
	}
	missing, err := secrets.OpenKeeper(ctx, "awskms:///alias/missing")
	if err != nil {
		return err
	}
	defer missing.Close()
	if _, err := missing.Encrypt(ctx, []byte("a password")); gcerrors.Code(err) != gcerrors.NotFound {
		return errors.Join(errors.New("want NotFound for a missing key"), err)
	}
	return nil
}
