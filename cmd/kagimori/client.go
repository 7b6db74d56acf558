package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/cli"
)

// defaultEndpoint is where serve listens if not told otherwise.
const defaultEndpoint = "http://127.0.0.1:4599"

// clientConfig is for the commands that call a server, with the endpoint, the
// credentials and the Region that the AWS CLI would use too. region, unless
// empty, goes before the environment's.
func clientConfig(ctx context.Context, env *cli.Env, region string) (aws.Config, error) {
	region = cmp.Or(region, env.Getenv("AWS_REGION"), env.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region),
		awsconfig.WithBaseEndpoint(cmp.Or(env.Getenv("AWS_ENDPOINT_URL"), defaultEndpoint)), awsconfig.WithRetryMaxAttempts(2))
	if err != nil {
		return cfg, fmt.Errorf("the settings of AWS clients (environment, ~/.aws): %w", err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, errors.New("there are no credentials; export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
	}
	return cfg, nil
}

// answered is the code and message of an error that a server answered, or false
// for one that never reached it.
func answered(err error) (code, message string, ok bool) {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode(), e.ErrorMessage(), true
	}
	return "", "", false
}

// keyARNParts are the Region and the account of a key ARN; empty for a key id.
func keyARNParts(key string) (region, account string) {
	if f := strings.SplitN(key, ":", 6); len(f) == 6 && f[0] == "arn" && f[2] == "kms" {
		return f[3], f[4]
	}
	return "", ""
}
