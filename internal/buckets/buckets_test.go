package buckets

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The S3 side is tested against a real server, in test/e2e.
func TestDirectory(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if _, err := Open(ctx, filepath.Join(dir, "nothing"), ""); err == nil {
		t.Error("a directory that is not there was opened")
	}
	for _, where := range []string{"ftp://host", "https://", "://"} {
		if _, err := Open(ctx, where, ""); err == nil {
			t.Errorf("%s was opened", where)
		}
	}
	b, err := Open(ctx, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "audit"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"nothing", "file", "", ".", "..", "../audit", "audit/.."} {
		if err := b.Check(ctx, bucket); !errors.Is(err, ErrNoBucket) {
			t.Errorf("the bucket %q: %v", bucket, err)
		}
	}
	if err := b.Check(ctx, "audit"); err != nil {
		t.Error(err)
	}
	for _, content := range []string{"first", "second"} {
		o := &Object{Bucket: "audit", Key: "a/b/c", Content: []byte(content), Metadata: map[string]string{"signature": "s"}}
		if err := b.Put(ctx, o); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "audit/a/b/c")); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "audit/a/b/c.metadata.json")); err != nil || string(got) != `{"signature":"s"}`+"\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, key := range []string{"../x", "/x", "a/../../x"} {
		if err := b.Put(ctx, &Object{Bucket: "audit", Key: key}); err == nil {
			t.Errorf("%s was written", key)
		}
	}
	err = b.Put(ctx, &Object{Bucket: "nothing", Key: "x"})
	if Code(err) != "NoSuchBucket" || Code(os.ErrPermission) != "AccessDenied" || Code(errors.New("x")) != "InternalError" {
		t.Errorf("the code of %v is %s", err, Code(err))
	}
}
