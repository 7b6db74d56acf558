package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
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
	endpoint := cmp.Or(env.Getenv("AWS_ENDPOINT_URL"), defaultEndpoint)
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithBaseEndpoint(endpoint), awsconfig.WithRetryMaxAttempts(2),
		awsconfig.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) { o.Client = roleClient{o.Client, endpoint} }))
	if err != nil {
		return cfg, fmt.Errorf("the settings of AWS clients (environment, ~/.aws): %w", err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, fmt.Errorf("there are no credentials that work: %w; export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", err)
	}
	return cfg, nil
}

// roleClient assumes the roles of profiles at the endpoint. The SDK has not yet
// read the endpoint when it makes the client for that.
type roleClient struct {
	stscreds.AssumeRoleAPIClient
	endpoint string
}

// AssumeRole implements stscreds.AssumeRoleAPIClient.
func (c roleClient) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return c.AssumeRoleAPIClient.AssumeRole(ctx, in, append(opts, func(o *sts.Options) { o.BaseEndpoint = &c.endpoint })...)
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
