package cloudtrail

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	// period is what a digest file is about.
	period = time.Hour
	// keyLife is how long a key signs.
	keyLife = 365 * 24 * time.Hour
	keyBits = 2048
)

// keyKind is of store records of the keys that sign digest files. They are a Region's, for
// all accounts; their id is the fingerprint.
const keyKind = "trail-signing-key"

// digested is a digest file as the next one of its chain needs it. Only its End is set where
// the next one is the first.
type digested struct {
	End       time.Time `json:"end"`
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"`
	Hash      string    `json:"hash,omitempty"`
	Signature string    `json:"signature,omitempty"`
}

// digestFile is the content of a digest file.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
type digestFile struct {
	Account            string      `json:"awsAccountId"`
	Start              string      `json:"digestStartTime"`
	End                string      `json:"digestEndTime"`
	Bucket             string      `json:"digestS3Bucket"`
	Key                string      `json:"digestS3Object"`
	Fingerprint        string      `json:"digestPublicKeyFingerprint"`
	Algorithm          string      `json:"digestSignatureAlgorithm"`
	Newest             *string     `json:"newestEventTime"`
	Oldest             *string     `json:"oldestEventTime"`
	PreviousBucket     *string     `json:"previousDigestS3Bucket"`
	PreviousKey        *string     `json:"previousDigestS3Object"`
	PreviousHash       *string     `json:"previousDigestHashValue"`
	PreviousHashMethod *string     `json:"previousDigestHashAlgorithm"`
	PreviousSignature  *string     `json:"previousDigestSignature"`
	Logs               []digestLog `json:"logFiles"`
}

type digestLog struct {
	Bucket     string `json:"s3Bucket"`
	Key        string `json:"s3Object"`
	Hash       string `json:"hashValue"`
	HashMethod string `json:"hashAlgorithm"`
	Newest     string `json:"newestEventTime"`
	Oldest     string `json:"oldestEventTime"`
}

const (
	signatureMethod = "SHA256withRSA"
	hashMethod      = "SHA-256"
)

// digests delivers the digest files that are due, with ends also one of the time until now,
// and tells when the next ones will be.
func (c *courier) digests(ctx context.Context, t *trail, ends bool) (wait time.Duration, err error) {
	for {
		var st *stateRecord
		if err := c.update(ctx, func(tx store.Tx, now *stateRecord) error {
			st = now
			if !t.Validation {
				st.Digests = nil
				return nil
			}
			return c.chains(tx, t, st)
		}); err != nil {
			return 0, err
		}
		if !t.Validation {
			return interval, nil
		}
		// All chains are at the same time, or, after an interruption, a period apart.
		begin := slices.MinFunc(slices.Collect(maps.Values(st.Digests)), func(a, b digested) int { return a.End.Compare(b.End) }).End
		end, now := begin.Add(period), c.s.Clock.Now().Truncate(time.Second)
		early := end.After(now)
		if early {
			if !ends || !now.After(begin) {
				return end.Sub(now), nil
			}
			end = now
		}
		for _, from := range slices.Sorted(maps.Keys(st.Digests)) {
			if st.Digests[from].End.Before(end) {
				if err := c.digest(ctx, t, from, st.Digests[from], end, ends); err != nil {
					return 0, err
				}
			}
		}
		if early { // that was the last one
			return 0, nil
		}
	}
}

// chains begins chains of digests: for the trail's own account and Region with the logging,
// for others with their first log file.
func (c *courier) chains(tx store.Tx, t *trail, st *stateRecord) error {
	own := source(t.place.Account + "/" + t.place.Region)
	if st.Digests == nil {
		st.Digests = map[source]digested{own: {End: t.Started.Truncate(time.Second)}}
		if now := c.s.Clock.Now(); now.Sub(t.Started) > period { // validation was enabled later
			st.Digests[own] = digested{End: now.Truncate(time.Second)}
		}
	}
	return eachFile(tx, t.place, "", func(rec store.Record) error {
		from := source(path.Dir(rec.ID[len(t.place.ID)+1:]))
		if _, ok := st.Digests[from]; !ok {
			st.Digests[from] = digested{End: st.Digests[own].End}
		}
		return nil
	})
}

// digest delivers one digest file: of the log files of a source that were delivered after the
// previous one, before end. With all it does not matter when.
func (c *courier) digest(ctx context.Context, t *trail, from source, previous digested, end time.Time, all bool) error {
	var files []store.Record
	d := digestFile{Account: path.Dir(string(from)), Start: stamp(previous.End), End: stamp(end), Bucket: t.Bucket, Algorithm: signatureMethod, Logs: []digestLog{}}
	err := c.s.Store.View(ctx, func(r store.Reader) error {
		return eachFile(r, t.place, from+"/", func(rec store.Record) error {
			var f file
			if err := json.Unmarshal(rec.Value, &f); err != nil {
				return err
			}
			if !all && !f.Delivered.Before(end) {
				return nil
			}
			files = append(files, rec)
			newest, oldest := stamp(f.Newest), stamp(f.Oldest)
			d.Logs = append(d.Logs, digestLog{f.Bucket, f.Key, f.Hash, hashMethod, newest, oldest})
			if d.Newest == nil || newest > *d.Newest {
				d.Newest = &newest
			}
			if d.Oldest == nil || oldest < *d.Oldest {
				d.Oldest = &oldest
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if previous.Key != "" {
		d.PreviousBucket, d.PreviousKey, d.PreviousHash, d.PreviousSignature = &previous.Bucket, &previous.Key, &previous.Hash, &previous.Signature
		d.PreviousHashMethod = aws.String(hashMethod)
	}
	folder, err := c.folder(ctx, t, from, "CloudTrail-Digest", end)
	if err != nil {
		return err
	}
	region := path.Base(string(from))
	d.Key = path.Join(folder, fmt.Sprintf("%s_CloudTrail-Digest_%s_%s_%s_%s.json.gz", d.Account, region, t.place.ID, t.place.Region, end.UTC().Format("20060102T150405Z")))
	key, fingerprint, err := c.s.signingKey(ctx, region)
	if err != nil {
		return err
	}
	d.Fingerprint = fingerprint
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(content)
	next := digested{End: end, Bucket: d.Bucket, Key: d.Key, Hash: hex.EncodeToString(hash[:])}
	if next.Signature, err = d.sign(key, next.Hash); err != nil {
		return err
	}
	if err := c.put(ctx, d.Bucket, d.Key, content, map[string]string{"signature": next.Signature, "signature-algorithm": signatureMethod}); err != nil {
		return err
	}
	return c.update(ctx, func(tx store.Tx, st *stateRecord) error {
		for _, f := range files {
			if err := tx.Delete(f.Place, f.Revision); err != nil {
				return err
			}
		}
		st.Digests[from], st.Digested = next, c.s.Clock.Now()
		return nil
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// sign is the signature that goes beside a digest file, in hexadecimal.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
func (d *digestFile) sign(key *rsa.PrivateKey, hash string) (string, error) {
	previous := "null"
	if d.PreviousSignature != nil {
		previous = *d.PreviousSignature
	}
	sum := sha256.Sum256([]byte(d.End + "\n" + d.Bucket + "/" + d.Key + "\n" + hash + "\n" + previous))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return hex.EncodeToString(signature), err
}

// keyRecord is a key that signs digest files, as the store keeps it.
type keyRecord struct {
	Private []byte    `json:"private"` // PKCS #1 in DER
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

// signingKey is the key that signs now in a Region. It is made if there is none.
func (s *Service) signingKey(ctx context.Context, region string) (key *rsa.PrivateKey, fingerprint string, err error) {
	now := s.Clock.Now()
	find := func(r store.Reader) error {
		return eachKey(r, region, func(id string, k *keyRecord) error {
			if !now.Before(k.From) && now.Before(k.To) {
				fingerprint = id
				key, err = x509.ParsePKCS1PrivateKey(k.Private)
			}
			return err
		})
	}
	if err := s.Store.View(ctx, find); err != nil || key != nil {
		return key, fingerprint, err
	}
	made, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, "", err
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if err := find(tx); err != nil || key != nil { // another trail was faster
			return err
		}
		key, fingerprint = made, fingerprintOf(&made.PublicKey)
		rec := &keyRecord{x509.MarshalPKCS1PrivateKey(made), now, now.Add(keyLife)}
		defer secmem.Zero(rec.Private)
		return put(tx, store.Place{Kind: keyKind, Region: region, ID: fingerprint}, rec, 0)
	})
	return key, fingerprint, err
}

// fingerprintOf names a key: 32 hexadecimal digits of the SHA-256 of its PKCS #1. How AWS
// makes its own is not documented.
func fingerprintOf(key *rsa.PublicKey) string {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(key))
	return hex.EncodeToString(sum[:16])
}

// eachKey gives the signing keys of a Region to fn.
func eachKey(r store.Reader, region string, fn func(fingerprint string, k *keyRecord) error) error {
	return r.Scan(keyKind, "", region, "", 0, func(rec store.Record) error {
		defer secmem.Zero(rec.Value)
		k := new(keyRecord)
		if err := json.Unmarshal(rec.Value, k); err != nil {
			return err
		}
		defer secmem.Zero(k.Private)
		return fn(rec.ID, k)
	})
}

// ListPublicKeys lists the keys whose signatures digest files of a time have, in the Region.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_ListPublicKeys.html
func (s *Service) ListPublicKeys(ctx context.Context, call *api.Call, in *sdk.ListPublicKeysInput) (*sdk.ListPublicKeysOutput, error) {
	if err := s.authorize(ctx, call, "*"); err != nil {
		return nil, err
	}
	from, to := call.Time, call.Time
	set(&from, in.StartTime)
	set(&to, in.EndTime)
	if from.After(to) {
		return nil, awserr.New(awserr.InvalidTimeRange, "The start time %s is after the end time %s.", stamp(from), stamp(to))
	}
	out := &sdk.ListPublicKeysOutput{PublicKeyList: []types.PublicKey{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		return eachKey(r, call.Region, func(fingerprint string, k *keyRecord) error {
			if k.From.After(to) || !k.To.After(from) {
				return nil
			}
			key, err := x509.ParsePKCS1PrivateKey(k.Private)
			if err != nil {
				return err
			}
			out.PublicKeyList = append(out.PublicKeyList, types.PublicKey{Value: x509.MarshalPKCS1PublicKey(&key.PublicKey), Fingerprint: &fingerprint,
				ValidityStartTime: aws.Time(k.From), ValidityEndTime: aws.Time(k.To)})
			return nil
		})
	})
}
