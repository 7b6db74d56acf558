package kms

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	grantKind      = "grant"       // grantRecord, by KEYID/GRANTEE/GRANTID
	grantCountKind = "grant-count" // how many grants a key has, by key id

	grantIDIndex  = "grant"    // grant: by grant id
	retiringIndex = "retiring" // grant: by the id of the retiring principal
	sameIndex     = "same"     // named grant: by KEYID and a hash of all that CreateGrant was given
)

// Limits of grants.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const (
	maxConstraintPairs  = 8
	maxConstraintLength = 384 // characters of a value
)

// grant is a grant at one moment. It is never changed.
type grant struct {
	grantRecord
	account  string // the key's
	region   string
	keyID    string
	id       string // 64 hex digits
	revision uint64
}

// grantRecord is a grant as the store keeps it.
type grantRecord struct {
	Name        string                  `json:"name,omitempty"`
	Created     time.Time               `json:"created"`
	Issuer      string                  `json:"issuer"` // account whose principal created it
	Grantee     grantPrincipal          `json:"grantee"`
	Retiring    grantPrincipal          `json:"retiring,omitzero"`
	Operations  []types.GrantOperation  `json:"operations"` // as given
	Same        string                  `json:"same,omitempty"`
	Constraints *types.GrantConstraints `json:"constraints,omitempty"`
}

// grantPrincipal is whom a grant names.
type grantPrincipal struct {
	Text    string `json:"text"` // the ARN, or the name of a service
	ID      string `json:"id"`   // as principalIDs has it
	Service bool   `json:"service,omitempty"`
}

// granteePlace finds the grants of a key for one grantee in memory.
type granteePlace struct{ region, keyID, grantee string }

// principalIDs are what grants can know a caller by: the unique id of the user or
// role, that of the role session, the name of the service, and last the account.
func principalIDs(p *api.Principal) (ids [3]string, n int) {
	add := func(id string) { ids[n], n = id, n+1 }
	switch {
	case p.Type == api.AWSService:
		add(p.ID)
		return ids, n
	case p.Session != nil && p.Session.RoleID != "":
		add(p.Session.RoleID)
		add(p.ID)
	case p.Type == api.IAMUser:
		add(p.ID)
	}
	add(p.Account)
	return ids, n
}

func grantPlace(account, region, keyID, grantee, id string) store.Place {
	return store.Place{Kind: grantKind, Account: account, Region: region, ID: keyID + "/" + grantee + "/" + id}
}

func (g *grant) place() store.Place {
	return grantPlace(g.account, g.region, g.keyID, g.Grantee.ID, g.id)
}

func (g *grant) keyARN() string { return keyARN(g.account, g.region, g.keyID) }

func decodeGrant(rec store.Record) (*grant, error) {
	g := &grant{account: rec.Account, region: rec.Region, revision: rec.Revision}
	g.keyID, _, _ = strings.Cut(rec.ID, "/")
	g.id = rec.ID[strings.LastIndexByte(rec.ID, '/')+1:]
	if err := json.Unmarshal(rec.Value, &g.grantRecord); err != nil {
		return nil, fmt.Errorf("grant %s of %s in the store: %w", g.id, g.keyARN(), err)
	}
	return g, nil
}

// eachGrant calls fn for the grants of a key whose place begins with prefix, from
// the one after the place after on.
func eachGrant(r store.Reader, k *key, prefix, after string, fn func(*grant) error) error {
	err := r.Scan(grantKind, k.account, k.region, max(prefix, after), 0, func(rec store.Record) error {
		if !strings.HasPrefix(rec.ID, prefix) {
			return errEnd
		}
		g, err := decodeGrant(rec)
		if err != nil {
			return err
		}
		return fn(g)
	})
	if err == errEnd {
		return nil
	}
	return err
}

// findGrant is the grant of an id on a key, or store.ErrNotFound.
func findGrant(r store.Reader, k *key, id string) (*grant, error) {
	return lookUpGrant(r, k, grantIDIndex, id)
}

func lookUpGrant(r store.Reader, k *key, index, value string) (found *grant, err error) {
	err = r.Lookup(store.Query{Kind: grantKind, Index: index, From: value, To: value}, func(rec store.Record) error {
		g, err := decodeGrant(rec)
		if err == nil && g.keyID == k.ID && g.region == k.region {
			found = g
		}
		return err
	})
	if err == nil && found == nil {
		err = store.ErrNotFound
	}
	return found, err
}

// insert stores a new grant if the key has not the most grants already.
func (g *grant) insert(tx store.Tx, most int) error {
	n, err := countGrants(tx, g, 1)
	if err != nil {
		return err
	}
	if n > most {
		return awserr.New(awserr.LimitExceeded, "%s has %d grants, which is the most a key can have. Retire or revoke those that are no longer needed.", g.keyARN(), n-1)
	}
	value, err := json.Marshal(&g.grantRecord)
	if err != nil {
		return err
	}
	index := []store.IndexEntry{{Name: grantIDIndex, Value: g.id}}
	if g.Retiring.ID != "" {
		index = append(index, store.IndexEntry{Name: retiringIndex, Value: g.Retiring.ID})
	}
	if g.Same != "" {
		index = append(index, store.IndexEntry{Name: sameIndex, Value: g.Same})
	}
	_, err = tx.Put(g.place(), value, 0, index...)
	return err
}

// remove takes a grant out of force.
func (g *grant) remove(tx store.Tx) error {
	if _, err := countGrants(tx, g, -1); err != nil {
		return err
	}
	return tx.Delete(g.place(), g.revision)
}

// countGrants changes the number of grants of g's key and tells the new one.
func countGrants(tx store.Tx, g *grant, change int) (n int, err error) {
	rec, err := tx.Get(store.Place{Kind: grantCountKind, Account: g.account, Region: g.region, ID: g.keyID})
	switch {
	case err == nil:
		if err := json.Unmarshal(rec.Value, &n); err != nil {
			return 0, err
		}
	case isNotFound(err):
		rec.Place = store.Place{Kind: grantCountKind, Account: g.account, Region: g.region, ID: g.keyID}
	default:
		return 0, err
	}
	n += change
	_, err = tx.Put(rec.Place, fmt.Append(nil, n), rec.Revision)
	return n, err
}

// destroyGrants removes all grants of a key.
func destroyGrants(tx store.Tx, k *key) error {
	var all []*grant
	err := eachGrant(tx, k, k.ID+"/", "", func(g *grant) error {
		all = append(all, g)
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := tx.Delete(g.place(), g.revision); err != nil {
			return err
		}
	}
	rec, err := tx.Get(store.Place{Kind: grantCountKind, Account: k.account, Region: k.region, ID: k.ID})
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.Delete(rec.Place, rec.Revision)
}

// grantsFor are the grants of a key for a grantee, from memory if they were
// asked for lately.
func (s *Service) grantsFor(ctx context.Context, k *key, grantee string) ([]*grant, error) {
	place := granteePlace{k.region, k.ID, grantee}
	if grants, ok := s.grants.Get(place); ok {
		return grants, nil
	}
	mark := s.grants.Mark()
	var grants []*grant
	err := s.Store.View(ctx, func(r store.Reader) error {
		return eachGrant(r, k, k.ID+"/"+grantee+"/", "", func(g *grant) error {
			grants = append(grants, g)
			return nil
		})
	})
	if err == nil {
		place.grantee = strings.Clone(grantee) // it may share memory with the request
		s.grants.Put(place, grants, mark)
	}
	return grants, err
}

// forgetGrant drops from memory the grants that the one at p is among.
func (s *Service) forgetGrant(p store.Place) {
	keyID, rest, _ := strings.Cut(p.ID, "/")
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		s.grants.Drop(granteePlace{p.Region, keyID, rest[:i]})
	}
}

// Find implements policy.Grants: a grant of the key for the caller.
func (v *values) Find(_ *policy.Request, note func(grantID, why string)) (id string, toAccount bool) {
	if v.key == nil {
		return "", false
	}
	ids, n := principalIDs(&v.call.Caller)
	for _, grantee := range ids[:n] {
		grants, err := v.svc.grantsFor(v.ctx, v.key, grantee)
		if err != nil {
			v.err = err
			return "", false
		}
		for _, g := range grants {
			why := g.refuses(v)
			if why == "" {
				return g.id, grantee == v.call.Caller.Account
			}
			if note != nil {
				note(g.id, why)
			}
		}
	}
	return "", false
}

// withContext are the grant operations whose encryption context can be
// constrained. CreateGrant is one in its own way: a child must be as strict.
var withContext = map[string]bool{
	"CreateGrant": true, "Decrypt": true, "Encrypt": true,
	"GenerateDataKey": true, "GenerateDataKeyPair": true, "GenerateDataKeyPairWithoutPlaintext": true, "GenerateDataKeyWithoutPlaintext": true,
	reEncryptFrom: true, reEncryptTo: true,
}

// withoutConstraints are the other grant operations that a grant with such a
// constraint may hold; it does not bear on them.
var withoutConstraints = map[string]bool{"DescribeKey": true, "RetireGrant": true}

// refuses tells why the grant does not allow the request, in words; "" if it does.
// https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html#grant-constraints
func (g *grant) refuses(v *values) string {
	if !slices.Contains(g.Operations, types.GrantOperation(v.action)) {
		return "it does not allow " + v.action
	}
	if in, ok := v.call.Input.(*sdk.CreateGrantInput); ok {
		return g.refusesChild(in)
	}
	c := g.Constraints
	if c == nil {
		return ""
	}
	if c.SourceArn != nil && v.action != "RetireGrant" && v.call.SourceARN != *c.SourceArn {
		return "the source ARN is not the one of its SourceArn constraint"
	}
	if !withContext[v.action] {
		return ""
	}
	given := v.encryptionContext()
	if c.EncryptionContextEquals != nil && !maps.Equal(c.EncryptionContextEquals, given) {
		return "the encryption context is not equal to that of its EncryptionContextEquals constraint"
	}
	if c.EncryptionContextSubset != nil && !contains(given, c.EncryptionContextSubset) {
		return "the encryption context has not all pairs of its EncryptionContextSubset constraint"
	}
	return ""
}

// refusesChild tells why the grant does not allow another to be made, "" if it
// does: the child must be as strict or stricter.
func (g *grant) refusesChild(in *sdk.CreateGrantInput) string {
	for _, op := range in.Operations {
		if !slices.Contains(g.Operations, op) {
			return "it does not allow " + string(op) + ", which the new grant would"
		}
	}
	parent, child := g.Constraints, in.Constraints
	if parent == nil {
		return ""
	}
	if child == nil {
		child = &types.GrantConstraints{}
	}
	if parent.SourceArn != nil && aws.ToString(child.SourceArn) != *parent.SourceArn {
		return "the new grant has not its SourceArn constraint"
	}
	if parent.EncryptionContextEquals != nil && (child.EncryptionContextEquals == nil || !maps.Equal(parent.EncryptionContextEquals, child.EncryptionContextEquals)) {
		return "the new grant has not its EncryptionContextEquals constraint"
	}
	if parent.EncryptionContextSubset != nil && !contains(constraintContext(child), parent.EncryptionContextSubset) {
		return "the new grant has a looser constraint on the encryption context"
	}
	return ""
}

// contains tells whether have has all pairs of want.
func contains(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// constraintContext is the encryption context of a grant's constraints.
func constraintContext(c *types.GrantConstraints) map[string]string {
	switch {
	case c == nil:
		return nil
	case c.EncryptionContextEquals != nil:
		return c.EncryptionContextEquals
	}
	return c.EncryptionContextSubset
}

func (g *grant) constraintType() string { return constraintType(g.Constraints) }

// constraintType is kms:GrantConstraintType.
func constraintType(c *types.GrantConstraints) string {
	switch {
	case c == nil:
		return ""
	case c.EncryptionContextEquals != nil:
		return "EncryptionContextEquals"
	case c.EncryptionContextSubset != nil:
		return "EncryptionContextSubset"
	}
	return ""
}

// createGrantValue is the value of a condition key that CreateGrant alone has.
func createGrantValue(in *sdk.CreateGrantInput, name string) policy.Value {
	switch name {
	case "kms:grantoperations":
		ops := make([]string, len(in.Operations))
		for i, op := range in.Operations {
			ops[i] = string(op)
		}
		return policy.Texts(ops)
	case "kms:grantconstrainttype":
		return policy.OptionalText(constraintType(in.Constraints))
	case "kms:grantconstraintsourcearn":
		if in.Constraints != nil {
			return policy.OptionalText(aws.ToString(in.Constraints.SourceArn))
		}
	case "kms:granteeprincipal":
		return policy.OptionalText(aws.ToString(in.GranteePrincipal))
	case "kms:granteeserviceprincipal":
		return policy.OptionalText(aws.ToString(in.GranteeServicePrincipal))
	case "kms:retiringprincipal":
		return policy.OptionalText(aws.ToString(in.RetiringPrincipal))
	case "kms:retiringserviceprincipal":
		return policy.OptionalText(aws.ToString(in.RetiringServicePrincipal))
	}
	return policy.Absent
}

// newGrantID is a random grant id.
func newGrantID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// sameValue is the index value of a named grant: equal for requests that are to
// give the same grant.
func sameValue(keyID string, in *sdk.CreateGrantInput, issuer string) (string, error) {
	if in.Name == nil {
		return "", nil
	}
	ops := slices.Clone(in.Operations)
	slices.Sort(ops)
	text, err := json.Marshal([]any{in.Name, issuer, in.GranteePrincipal, in.GranteeServicePrincipal, in.RetiringPrincipal, in.RetiringServicePrincipal,
		slices.Compact(ops), in.Constraints})
	sum := sha256.Sum256(text)
	return keyID + " " + hex.EncodeToString(sum[:]), err
}

// checkGrant refuses what cannot be a grant on a key.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
func checkGrant(k *key, in *sdk.CreateGrantInput) error {
	switch {
	case (in.GranteePrincipal == nil) == (in.GranteeServicePrincipal == nil):
		return invalid("Specify either GranteePrincipal or GranteeServicePrincipal.")
	case in.RetiringPrincipal != nil && in.RetiringServicePrincipal != nil:
		return invalid("Specify RetiringPrincipal or RetiringServicePrincipal, but not both.")
	case in.GranteeServicePrincipal != nil && (in.Constraints == nil || in.Constraints.SourceArn == nil):
		return invalid("A grant with a GranteeServicePrincipal must have a SourceArn constraint.")
	case in.GranteeServicePrincipal != nil && in.RetiringPrincipal == nil && in.RetiringServicePrincipal == nil:
		return invalid("A grant with a GranteeServicePrincipal must have a RetiringPrincipal or RetiringServicePrincipal.")
	case len(in.Operations) == 0:
		return invalid("Operations must have at least one operation.")
	}
	for _, service := range []*string{in.GranteeServicePrincipal, in.RetiringServicePrincipal} {
		if service != nil && !isService(*service) {
			return invalid("'%s' is not the name of a service, such as ec2.amazonaws.com.", *service)
		}
	}
	for _, op := range in.Operations {
		if !k.supports(string(op)) {
			return invalid("The operation %s cannot be granted on %s, whose key spec is %s and key usage %s.", op, k.arn, k.Spec, k.Usage)
		}
	}
	c := in.Constraints
	if c == nil {
		return nil
	}
	if c.EncryptionContextEquals != nil && c.EncryptionContextSubset != nil {
		return invalid("Specify EncryptionContextEquals or EncryptionContextSubset, but not both.")
	}
	context := constraintContext(c)
	if context != nil {
		for _, op := range in.Operations {
			if !withContext[string(op)] && !withoutConstraints[string(op)] {
				return invalid("A grant with an encryption context constraint cannot have the operation %s, which takes no encryption context.", op)
			}
		}
	}
	if len(context) > maxConstraintPairs {
		return invalid("A grant constraint can have at most %d encryption context pairs, not %d.", maxConstraintPairs, len(context))
	}
	for name, value := range context {
		if utf8.RuneCountInString(value) > maxConstraintLength {
			return invalid("The value of %q in the grant constraint is longer than %d characters.", name, maxConstraintLength)
		}
	}
	return nil
}

func isService(name string) bool {
	return strings.HasSuffix(name, ".amazonaws.com") && !strings.ContainsAny(name, "/*? ")
}

// supports tells whether keys of that kind have the grant operation.
func (r *keyRecord) supports(op string) bool {
	switch op {
	case "CreateGrant", "RetireGrant", "DescribeKey":
		return true
	case "GetPublicKey":
		return r.Spec != types.KeySpecSymmetricDefault && r.Usage != types.KeyUsageTypeGenerateVerifyMac
	case "Encrypt", "Decrypt", reEncryptFrom, reEncryptTo:
		return r.Usage == types.KeyUsageTypeEncryptDecrypt
	case "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext":
		return r.Spec == types.KeySpecSymmetricDefault
	case "Sign", "Verify":
		return r.Usage == types.KeyUsageTypeSignVerify
	case "GenerateMac", "VerifyMac":
		return r.Usage == types.KeyUsageTypeGenerateVerifyMac
	case "DeriveSharedSecret":
		return r.Usage == types.KeyUsageTypeKeyAgreement
	case "Encapsulate", "Decapsulate":
		return r.Usage == types.KeyUsageTypeEncapsulateDecapsulate
	}
	return false
}

// errEnd ends a scan that has found what it was for.
var errEnd = errors.New("kms: end of scan")
