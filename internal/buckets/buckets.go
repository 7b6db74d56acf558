// Package buckets writes objects into buckets: into a directory, or into a server that
// speaks the S3 API.
//
// An object that was put is there as a whole or not at all, in the place of one that had the
// same key.
package buckets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/durable"
)

// ErrNoBucket says that there is no such bucket.
var ErrNoBucket = errors.New("there is no such bucket")

// Object is what is put.
type Object struct {
	Bucket, Key string
	Content     []byte
	Metadata    map[string]string // x-amz-meta-…
}

// Buckets is where objects can be put. It is safe for concurrent use.
type Buckets interface {
	// Check is ErrNoBucket, or why the bucket cannot be reached.
	Check(ctx context.Context, bucket string) error
	Put(ctx context.Context, o *Object) error
}

// Code is the error in one word, as GetTrailStatus has it: NoSuchBucket, AccessDenied.
func Code(err error) string {
	var api smithy.APIError
	switch {
	case errors.Is(err, ErrNoBucket):
		return "NoSuchBucket"
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.Is(err, fs.ErrPermission):
		return "AccessDenied"
	}
	return "InternalError"
}

// Directory has a folder for each bucket, which it does not make. An object is a file, its
// metadata another one, with .metadata.json behind the name.
type Directory string

func (d Directory) folder(bucket string) (string, error) {
	if !filepath.IsLocal(bucket) || bucket == "." || strings.ContainsAny(bucket, `/\`) {
		return "", ErrNoBucket
	}
	path := filepath.Join(string(d), bucket)
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return "", fmt.Errorf("%w: %s is no folder", ErrNoBucket, path)
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// Check implements Buckets.
func (d Directory) Check(_ context.Context, bucket string) error {
	_, err := d.folder(bucket)
	return err
}

// Put implements Buckets.
func (d Directory) Put(_ context.Context, o *Object) error {
	folder, err := d.folder(o.Bucket)
	if err != nil {
		return err
	}
	if !filepath.IsLocal(o.Key) {
		return fmt.Errorf("an object cannot be named %q", o.Key)
	}
	path := filepath.Join(folder, filepath.FromSlash(o.Key))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if len(o.Metadata) > 0 {
		text, err := json.Marshal(o.Metadata)
		if err != nil {
			return err
		}
		if err := durable.Replace(path+".metadata.json", append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return durable.Replace(path, o.Content, 0o600)
}

// Open makes the Buckets that where names: a directory, or the URL of a server that speaks
// the S3 API. Credentials for that are in the profile "default" of a file in AWS's format; ""
// has them found as SDKs find them. Requests are signed for the Region that SDKs find, or
// us-east-1.
func Open(ctx context.Context, where, credentials string) (Buckets, error) {
	if !strings.Contains(where, "://") {
		info, err := os.Stat(where)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no directory", where)
		}
		return Directory(where), err
	}
	if u, err := url.Parse(where); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%s is no URL of a server", where)
	}
	load := []func(*config.LoadOptions) error{config.WithDefaultRegion("us-east-1")}
	if credentials != "" {
		if _, err := os.Stat(credentials); err != nil {
			return nil, err
		}
		load = append(load, config.WithSharedCredentialsFiles([]string{credentials}), config.WithSharedConfigFiles(nil), config.WithSharedConfigProfile("default"))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, err
	}
	return &server{s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = &where, true
		// Servers that are not AWS's may not know newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})}, nil
}

type server struct{ client *s3.Client }

func (s *server) Check(ctx context.Context, bucket string) error {
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	return missing(err)
}

func (s *server) Put(ctx context.Context, o *Object) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: bytes.NewReader(o.Content), Metadata: o.Metadata})
	return missing(err)
}

// missing makes the errors for a bucket that is not there one.
func missing(err error) error {
	var answer *awshttp.ResponseError
	if errors.As(err, new(*types.NoSuchBucket)) || errors.As(err, new(*types.NotFound)) ||
		errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrNoBucket, err)
	}
	return err
}
