// Command clients runs Go libraries that use AWS KMS, as a program that was written
// for AWS would: nothing in here knows another endpoint than that of the environment.
//
//	clients gocloud KEY            seal and open a secret with the Go CDK
//	clients tink KEY               seal and open with Tink's envelope encryption
//	clients esdk encrypt KEY IN OUT  and decrypt, with the AWS Encryption SDK
//	clients step                   make a key, and a certificate that it signs
//
// It has a module of its own, so that the server does not depend on any of this.
package main

import (
	"context"
	"fmt"
	"os"
)

var commands = map[string]func(ctx context.Context, args []string) error{
	"gocloud": goCloud,
	"tink":    tinkEnvelope,
	"esdk":    encryptionSDK,
	"step":    stepCertificate,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients gocloud|tink|esdk|step [ARGUMENT...]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](context.Background(), os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
