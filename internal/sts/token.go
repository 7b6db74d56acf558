package sts

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
)

// tokenBinding sets session tokens apart from what else is sealed, and numbers
// their version. The access key id follows it.
const tokenBinding = "kagimori session token v1 "

// maxToken bounds what a session token holds, in bytes before it is compressed.
// maxPacked is how many bytes session policies and tags may have, compressed.
const (
	maxToken  = 128 << 10
	maxPacked = 8 << 10
)

// tokenRecord is what a session token holds.
type tokenRecord struct {
	Secret         string              `json:"secret"`
	Type           api.PrincipalType   `json:"type"`
	ID             string              `json:"id"`
	ARN            string              `json:"arn"`
	Account        string              `json:"account"`
	UserName       string              `json:"userName,omitempty"`
	Issued         time.Time           `json:"issued"`
	Expires        time.Time           `json:"expires"`
	MFA            time.Time           `json:"mfa,omitzero"`
	RoleARN        string              `json:"roleArn,omitempty"`
	RoleID         string              `json:"roleId,omitempty"`
	RoleName       string              `json:"roleName,omitempty"`
	Name           string              `json:"name,omitempty"`
	Tags           []api.Tag           `json:"tags,omitempty"`
	TransitiveTags []string            `json:"transitiveTags,omitempty"`
	SourceIdentity string              `json:"sourceIdentity,omitempty"`
	Policies       []sessionPolicy     `json:"policies,omitempty"`
	Federated      string              `json:"federated,omitempty"`
	Claims         map[string][]string `json:"claims,omitempty"`
}

// sessionPolicy is a session policy: one that was given, or a managed policy as it
// was when the session began.
type sessionPolicy struct {
	ARN  string `json:"arn,omitempty"`
	Text string `json:"text"`
}

// session is what a session token opens to. It is never changed.
type session struct {
	secret    string
	principal api.Principal
}

// issue makes temporary credentials of what rec says, from now for some time.
func (s *Service) issue(rec *tokenRecord, now time.Time, lifetime time.Duration) (*types.Credentials, error) {
	rec.Secret = base64.StdEncoding.EncodeToString(random(30))
	rec.Issued, rec.Expires = now.Truncate(time.Second), now.Add(lifetime).Truncate(time.Second)
	id := newAccessKeyID(rec.Account)
	plain, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	token := s.seal(plain, tokenBinding+id)
	return &types.Credentials{AccessKeyId: &id, SecretAccessKey: &rec.Secret, SessionToken: &token, Expiration: aws.Time(rec.Expires)}, nil
}

// open reads a session token.
func (s *Service) open(accessKeyID, token string) (*session, error) {
	plain, err := s.unseal(token, tokenBinding+accessKeyID)
	if err != nil {
		return nil, err
	}
	var rec tokenRecord
	if json.Unmarshal(plain, &rec) != nil { // whose error could show the secret
		return nil, errors.New("sts: the session token is not one that this version can read")
	}
	ses := &session{secret: rec.Secret, principal: api.Principal{
		Type: rec.Type, ID: rec.ID, ARN: rec.ARN, Account: rec.Account, UserName: rec.UserName, AccessKeyID: string([]byte(accessKeyID)),
		Session: &api.Session{
			Issued: rec.Issued, Expires: rec.Expires, MFA: rec.MFA, RoleARN: rec.RoleARN, RoleID: rec.RoleID, RoleName: rec.RoleName, Name: rec.Name,
			Tags: rec.Tags, TransitiveTags: rec.TransitiveTags, SourceIdentity: rec.SourceIdentity, Federated: rec.Federated, Claims: rec.Claims,
		},
	}}
	for _, p := range rec.Policies {
		name := "session policy"
		if p.ARN != "" {
			name = p.ARN
		}
		doc, err := policy.Parse(policy.Identity, name, p.Text)
		if err != nil {
			return nil, fmt.Errorf("sts: a session policy of a session token: %w", err)
		}
		ses.principal.Session.Policies = append(ses.principal.Session.Policies, doc)
	}
	return ses, nil
}

// seal compresses and seals, for text that leaves the server to come back.
func (s *Service) seal(plain []byte, binding string) string {
	return base64.StdEncoding.EncodeToString(s.Sealer.Seal(nil, deflate(plain), []byte(binding)))
}

// unseal is the reverse of seal.
func (s *Service) unseal(text, binding string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which base64 would pass over
		return nil, errors.New("sts: sealed text has line breaks")
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, err
	}
	packed, err := s.Sealer.Open(nil, sealed, []byte(binding))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxToken))
	if err == nil && len(plain) == maxToken {
		err = errors.New("sts: sealed text is too long")
	}
	return plain, err
}

// deflaters are kept, since a new one takes 800 KB, and every denial needs one.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic(err) // the level is one
	}
	return w
}}

func deflate(plain []byte) []byte {
	var b bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	w.Reset(&b)
	w.Write(plain) // a Buffer does not fail
	w.Close()
	w.Reset(nil) // which lets go of the buffer
	deflaters.Put(w)
	return b.Bytes()
}

// checkPacked tells how much of the room for session policies and tags is used, in
// percent, and refuses what does not fit.
func checkPacked(rec *tokenRecord) (percent *int32, err error) {
	if len(rec.Policies) == 0 && len(rec.Tags) == 0 {
		return nil, nil
	}
	plain, err := json.Marshal([]any{rec.Policies, rec.Tags})
	if err != nil {
		return nil, err
	}
	used := int32(100 * len(deflate(plain)) / maxPacked)
	if used > 100 || len(plain) > maxToken/2 {
		return nil, awserr.New(awserr.PackedPolicyTooLarge, "Packed size of session policies and tags consumes %d%% of allotted space.", max(used, 101))
	}
	return &used, nil
}

// newAccessKeyID makes the id of a temporary access key: ASIA and 80 bits in base
// 32, of which, as in AWS's, the first say the account.
func newAccessKeyID(account string) string {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		panic("sts: not an account id: " + account)
	}
	b := random(10)
	first := binary.BigEndian.Uint64(b) >> 16 // 48 bits: one, 40 of the account, 7
	first = first&0x7f | n<<7 | 1<<47
	binary.BigEndian.PutUint64(b, first<<16|binary.BigEndian.Uint64(b)&0xffff)
	return "ASIA" + base32.StdEncoding.EncodeToString(b)
}

// accountOf is the account that a temporary access key id says.
func accountOf(id string) (account string, ok bool) {
	if len(id) != 20 || id[:4] != "ASIA" {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return "", false
	}
	n := binary.BigEndian.Uint64(b) >> 16 & (1<<47 - 1) >> 7
	return fmt.Sprintf("%012d", n), n < 1e12
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return b
}
