package e2e

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/clock"
)

// clients are the programs that go on the tour. Each takes "tour NAME" and "open
// NAME", see testdata/tour.py.
var clients = []client{
	{"aws-cli", "python", "bash", "testdata/tour.sh"},
	{"boto3", "python", "python", "testdata/tour.py"},
	{"javascript", "node", "node", "testdata/tour.mjs"},
	{"go", "", "", goClient},
}

type client struct {
	name, needs     string // needs is what test/setup installs for it
	program, script string
}

// tools are the packages that test/setup installs, by what needs them.
func tools(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../.tools")
	check(t, err)
	return dir
}

// skipWithout skips the test if test/setup has not installed something.
func skipWithout(t *testing.T, what string) {
	t.Helper()
	if what == "" {
		return
	}
	if _, err := os.Stat(filepath.Join(tools(t), what+".done")); err == nil {
		return
	}
	reason, err := os.ReadFile(filepath.Join(tools(t), what+".missing"))
	if err != nil {
		reason = []byte("test/setup has not run; make test runs it")
	}
	t.Skipf("skipped: %s", bytes.TrimSpace(reason))
}

// TestTour is the life of a key and of a file under it, as every client sees it;
// and each client opens what each other has sealed, also after a restart and over
// TLS.
func TestTour(t *testing.T) {
	dir, work := filepath.Join(t.TempDir(), "data"), t.TempDir()
	plain := make([]byte, 100_000)
	rand.Read(plain)
	check(t, os.WriteFile(filepath.Join(work, "plain"), plain, 0o600))

	var sealed []string // by those clients that could be had
	s := serve(t, dir, setup{})
	t.Run("tour", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				skipWithout(t, c.needs)
				sealed = append(sealed, c.name)
				t.Parallel()
				visit(t, s, work, c, "tour", c.name)
			})
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	openAll := func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				skipWithout(t, c.needs)
				t.Parallel()
				for _, name := range sealed {
					visit(t, s, work, c, "open", name)
				}
			})
		}
	}
	t.Run("open", openAll)
	s.stop(t)

	s = serve(t, dir, setup{args: []string{"--tls-auto"}})
	if !strings.HasPrefix(s.endpoint, "https://127.0.0.1:") {
		t.Errorf("with --tls-auto the endpoint is %s", s.endpoint)
	}
	t.Run("open over TLS after a restart", openAll)
	s.stop(t)
}

// visit runs a client in the work folder with the pasted environment.
func visit(t *testing.T, s *server, work string, c client, args ...string) {
	t.Helper()
	program, script := c.program, c.script
	if program == "" {
		var err error
		program, err = os.Executable()
		check(t, err)
	}
	if strings.HasPrefix(script, "testdata/") {
		var err error
		script, err = filepath.Abs(script)
		check(t, err)
	}
	use(t, s, work, program, append([]string{script}, args...)...)
}

// use runs a program in the work folder with the pasted environment and gives what it
// printed. Programs that test/setup installed go before those of the machine.
func use(t *testing.T, s *server, work, program string, args ...string) string {
	t.Helper()
	out, err := command(t, s, work, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// command is what use runs.
func command(t *testing.T, s *server, work, program string, args ...string) *exec.Cmd {
	t.Helper()
	installed := []string{filepath.Join(tools(t), "python", "bin"), filepath.Join(tools(t), "go")}
	for _, dir := range installed {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			program = path
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = work
	cmd.Env = append(environment(t), s.pasted...)
	cmd.Env = append(cmd.Env, "PATH="+strings.Join(installed, ":")+":"+os.Getenv("PATH"), "NODE_PACKAGES="+filepath.Join(tools(t), "node"))
	if ca := s.variable("AWS_CA_BUNDLE"); ca != "" {
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+ca) // Node.js reads no other
	}
	return cmd
}

// runGoClient is the tour with the Go SDK.
func runGoClient(what, name string) (err error) {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	g := tourist{kms: kms.NewFromConfig(cfg), name: name, now: clock.System().Now()}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v\n%s", v, debug.Stack())
		}
	}()
	switch what {
	case "tour":
		g.tour(ctx)
	case "open":
		g.openEnvelope(ctx)
	}
	return err
}

// tourist is the Go client. Its steps panic on what is not as it has to be.
type tourist struct {
	kms  *kms.Client
	name string
	now  time.Time
}

var tourContext = map[string]string{"部署": "経理", "用途": "明細"}

func need[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func assert(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

// fails asserts that err is an error of the type E of the SDK.
func fails[E error](_ any, err error) {
	var want E
	assert(errors.As(err, &want), "want a %T, got %v", want, err)
}

func dataCipher(key []byte) cipher.AEAD {
	return need(cipher.NewGCM(need(aes.NewCipher(key))))
}

func (g *tourist) openEnvelope(ctx context.Context) {
	data := need(g.kms.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: need(os.ReadFile(g.name + ".key")), EncryptionContext: tourContext}))
	sealed := need(os.ReadFile(g.name + ".sealed"))
	plain := need(dataCipher(data.Plaintext).Open(nil, sealed[:12], sealed[12:], nil))
	assert(bytes.Equal(plain, need(os.ReadFile("plain"))), "the file came out differently")
}

func (g *tourist) tour(ctx context.Context) {
	made := need(g.kms.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("給与計算の鍵"),
		Tags:        []types.Tag{{TagKey: aws.String("部署"), TagValue: aws.String("経理部")}, {TagKey: aws.String("環境"), TagValue: aws.String("本番")}},
	})).KeyMetadata
	key, alias := made.KeyId, aws.String("alias/tour-"+g.name)
	assert(made.KeyState == types.KeyStateEnabled && *made.Description == "給与計算の鍵", "made %+v", made)
	assert(near(*made.CreationDate, g.now), "made on %s", made.CreationDate)
	tags := map[string]string{}
	for _, tag := range need(g.kms.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: key})).Tags {
		tags[*tag.TagKey] = *tag.TagValue
	}
	assert(maps.Equal(tags, map[string]string{"部署": "経理部", "環境": "本番"}), "tags %v", tags)

	need(g.kms.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias, TargetKeyId: key}))
	assert(*need(g.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias})).KeyMetadata.KeyId == *key, "the alias is of another key")
	fails[*types.AlreadyExistsException](g.kms.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias, TargetKeyId: key}))
	fails[*types.NotFoundException](g.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("00000000-0000-4000-8000-000000000000")}))

	data := need(g.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: alias, KeySpec: types.DataKeySpecAes256, EncryptionContext: tourContext}))
	assert(*data.KeyId == *made.Arn && len(data.Plaintext) == 32, "a data key of %d bytes under %s", len(data.Plaintext), *data.KeyId)
	nonce := make([]byte, 12)
	rand.Read(nonce)
	sealed := dataCipher(data.Plaintext).Seal(nonce, nonce, need(os.ReadFile("plain")), nil)
	need(0, os.WriteFile(g.name+".sealed", sealed, 0o600))
	need(0, os.WriteFile(g.name+".key", data.CiphertextBlob, 0o600))
	clear(data.Plaintext)
	g.openEnvelope(ctx)

	for _, wrong := range []map[string]string{nil, {"部署": "営業", "用途": "明細"}, {"部署": "経理", "用途": "明細", "more": "x"}} {
		fails[*types.InvalidCiphertextException](g.kms.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: data.CiphertextBlob, EncryptionContext: wrong}))
	}

	encrypt := func() (*kms.EncryptOutput, error) {
		return g.kms.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("秘密")})
	}
	need(g.kms.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key}))
	fails[*types.DisabledException](encrypt())
	need(g.kms.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key}))
	opened := need(g.kms.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: need(encrypt()).CiphertextBlob, KeyId: alias}))
	assert(string(opened.Plaintext) == "秘密", "decrypted to %q", opened.Plaintext)

	gone := need(g.kms.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key, PendingWindowInDays: aws.Int32(7)}))
	assert(gone.KeyState == types.KeyStatePendingDeletion && near(*gone.DeletionDate, g.now.AddDate(0, 0, 7)), "%s, to be deleted on %s", gone.KeyState, gone.DeletionDate)
	fails[*types.KMSInvalidStateException](encrypt())
	need(g.kms.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key}))
	state := need(g.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key})).KeyMetadata.KeyState
	assert(state == types.KeyStateDisabled, "%s after CancelKeyDeletion", state)
	need(g.kms.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key}))

	need(g.kms.CreateKey(ctx, &kms.CreateKeyInput{}))
	listed, pages := map[string]int{}, 0
	for p := kms.NewListKeysPaginator(g.kms, &kms.ListKeysInput{Limit: aws.Int32(1)}); p.HasMorePages(); pages++ {
		for _, k := range need(p.NextPage(ctx)).Keys {
			listed[*k.KeyId]++
		}
	}
	assert(pages >= 2 && len(listed) == pages && listed[*key] == 1, "%d pages with %d keys", pages, len(listed))

	europe := func(o *kms.Options) { o.Region = "eu-central-1" }
	fails[*types.NotFoundException](g.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key}, europe))
	arn := *need(g.kms.CreateKey(ctx, &kms.CreateKeyInput{}, europe)).KeyMetadata.Arn
	assert(strings.Contains(arn, ":eu-central-1:"), "a key in eu-central-1 is %s", arn)
}

func near(a, b time.Time) bool { return a.Sub(b).Abs() < time.Hour }
