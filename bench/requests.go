//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/clock"
)

// signatureLife is how long requests are used after they were signed, with a
// margin to the five minutes that AWS allows.
const signatureLife = 4 * time.Minute

const (
	region         = "us-east-1"
	variety        = 256 // different requests of one operation, so that no answer can be remembered
	samples        = 8   // of these, how many are checked to be answered right
	plaintextBytes = 64
)

// client makes calls one at a time: what has to be set up before the load runs,
// and the checks around it.
type client struct {
	addr  netip.AddrPort
	creds aws.Credentials
}

// sign returns the bytes of a signed HTTP/1.1 request with the headers that the
// AWS SDK for Go sends. Servers take its signature for five minutes.
func (c *client) sign(operation string, in any) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest("POST", "http://"+c.addr.String()+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.4 m/E,g")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Amz-Sdk-Invocation-Id", uuid.NewString())
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	hash := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), c.creds, r, hex.EncodeToString(hash[:]), "kms", region, clock.System().Now())
	if err != nil {
		return nil, err
	}
	var request bytes.Buffer
	err = r.Write(&request)
	return request.Bytes(), err
}

// signAll returns variety many freshly signed requests.
func (c *client) signAll(operation string, input func(i int) any) ([][]byte, error) {
	requests := make([][]byte, variety)
	for i := range requests {
		var err error
		if requests[i], err = c.sign(operation, input(i)); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// exchange sends one request on a connection of its own. The answer may have
// any status.
func (c *client) exchange(request []byte) (response, error) {
	conn, err := net.DialTimeout("tcp", c.addr.String(), silence)
	if err != nil {
		return response{}, err
	}
	defer conn.Close()
	conn.SetDeadline(clock.System().Now().Add(silence))
	if _, err := conn.Write(request); err != nil {
		return response{}, err
	}
	buf := make([]byte, maxHead+maxBody)
	for have := 0; ; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return response{}, err
		}
		have += n
		if r, done, err := parseResponse(buf[:have]); done || err != nil {
			return r, err
		}
	}
}

// call makes one signed call and decodes its answer, which must be a 200.
func (c *client) call(operation string, in, out any) error {
	request, err := c.sign(operation, in)
	if err != nil {
		return err
	}
	r, err := c.exchange(request)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if r.status != 200 {
		return fmt.Errorf("%s was answered %d: %.300s", operation, r.status, r.body)
	}
	if err := json.Unmarshal(r.body, out); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// ready reports whether the server takes calls.
func (c *client) ready() bool {
	r, err := c.exchange([]byte("GET /readyz HTTP/1.1\r\nHost: " + c.addr.String() + "\r\n\r\n"))
	return err == nil && r.status == 200
}

// Requests and answers as KMS has them, as far as they are used here.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html
type (
	encryptInput struct {
		KeyId             string
		Plaintext         []byte
		EncryptionContext map[string]string
	}
	decryptInput struct {
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	dataKeyInput struct {
		KeyId             string
		KeySpec           string
		EncryptionContext map[string]string
	}
	cryptoOutput struct {
		CiphertextBlob []byte
		Plaintext      []byte
	}
)

// workload is what the measured calls are about: one key, and variety many
// plaintexts, encryption contexts and ciphertexts of equal length.
type workload struct {
	keyID       string
	plaintexts  [][]byte
	contexts    []map[string]string
	ciphertexts [][]byte
}

// operations are what can be measured, with the input of the i-th request.
var operations = []struct {
	name  string
	input func(w *workload, i int) any
}{
	{"Encrypt", func(w *workload, i int) any { return encryptInput{w.keyID, w.plaintexts[i], w.contexts[i]} }},
	{"Decrypt", func(w *workload, i int) any { return decryptInput{w.ciphertexts[i], w.contexts[i]} }},
	{"GenerateDataKey", func(w *workload, i int) any { return dataKeyInput{w.keyID, "AES_256", w.contexts[i]} }},
}

// inputOf returns the named operation's input, nil if it is not one of operations.
func inputOf(name string) func(*workload, int) any {
	for _, op := range operations {
		if op.name == name {
			return op.input
		}
	}
	return nil
}

// newWorkload creates the key and the ciphertexts.
func newWorkload(c *client) (*workload, error) {
	var created struct{ KeyMetadata struct{ KeyId string } }
	if err := c.call("CreateKey", struct{ Description string }{"bench"}, &created); err != nil {
		return nil, err
	}
	w := &workload{keyID: created.KeyMetadata.KeyId}
	for i := range variety {
		plaintext := make([]byte, plaintextBytes)
		rand.Read(plaintext)
		w.plaintexts = append(w.plaintexts, plaintext)
		w.contexts = append(w.contexts, map[string]string{
			"tenant": fmt.Sprintf("tenant-%06d", i),
			"object": "invoices/" + uuid.NewString(),
		})
		var encrypted cryptoOutput
		if err := c.call("Encrypt", encryptInput{w.keyID, plaintext, w.contexts[i]}, &encrypted); err != nil {
			return nil, err
		}
		w.ciphertexts = append(w.ciphertexts, encrypted.CiphertextBlob)
	}
	return w, nil
}

// sign returns freshly signed requests of the operation.
func (w *workload) sign(c *client, operation string) ([][]byte, error) {
	input := inputOf(operation)
	return c.signAll(operation, func(i int) any { return input(w, i) })
}

// answerSize returns the bytes of the operation's answers, which must all have
// the same.
func (w *workload) answerSize(c *client, operation string) (int, error) {
	input := inputOf(operation)
	size := 0
	for i := range samples {
		var body json.RawMessage
		if err := c.call(operation, input(w, i), &body); err != nil {
			return 0, err
		}
		if i > 0 && len(body) != size {
			return 0, fmt.Errorf("%s: answers to alike requests have %d and %d bytes", operation, size, len(body))
		}
		size = len(body)
	}
	return size, nil
}

// verify checks that the server does what is being measured: that what it
// encrypts it decrypts, and that it refuses a wrong signature and a wrong
// encryption context.
func (w *workload) verify(c *client) error {
	decrypt := func(ciphertext []byte, i int) ([]byte, error) {
		var out cryptoOutput
		err := c.call("Decrypt", decryptInput{ciphertext, w.contexts[i]}, &out)
		return out.Plaintext, err
	}
	for i := range samples {
		var encrypted, dataKey cryptoOutput
		if err := c.call("Encrypt", encryptInput{w.keyID, w.plaintexts[i], w.contexts[i]}, &encrypted); err != nil {
			return err
		}
		for _, ciphertext := range [][]byte{encrypted.CiphertextBlob, w.ciphertexts[i]} {
			if got, err := decrypt(ciphertext, i); err != nil {
				return err
			} else if !bytes.Equal(got, w.plaintexts[i]) {
				return errors.New("Decrypt did not return what was given to Encrypt")
			}
		}
		if err := c.call("GenerateDataKey", dataKeyInput{w.keyID, "AES_256", w.contexts[i]}, &dataKey); err != nil {
			return err
		}
		if got, err := decrypt(dataKey.CiphertextBlob, i); err != nil {
			return err
		} else if len(got) != 32 || !bytes.Equal(got, dataKey.Plaintext) {
			return errors.New("Decrypt did not return the data key of GenerateDataKey")
		}
	}

	wrongContext := decryptInput{w.ciphertexts[0], w.contexts[1]}
	forged, err := c.sign("Decrypt", wrongContext)
	if err != nil {
		return err
	}
	if err := c.refuses(forged, "an encryption context that does not match"); err != nil {
		return err
	}
	forged, err = c.sign("Decrypt", decryptInput{w.ciphertexts[0], w.contexts[0]})
	if err != nil {
		return err
	}
	mark := []byte("Signature=")
	digit := &forged[bytes.Index(forged, mark)+len(mark)]
	if *digit == '0' {
		*digit = '1'
	} else {
		*digit = '0'
	}
	return c.refuses(forged, "a wrong signature")
}

// refuses checks that the request is answered with a 4xx.
func (c *client) refuses(request []byte, what string) error {
	r, err := c.exchange(request)
	if err != nil {
		return err
	}
	if r.status < 400 || r.status > 499 {
		return fmt.Errorf("%s was answered %d: this server does not do the work that is to be measured", what, r.status)
	}
	return nil
}
