// Command floor is what Kagimori's throughput is compared with: the least that
// a Go server does for the same bytes on the wire. It reads a JSON body with
// net/http and encoding/json and answers a JSON body of the size it was told.
// No signature, no decision, no cryptography, no record.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4600", "HOST:PORT to listen on")
	sizes := sizeFlag{}
	flag.Var(sizes, "sizes", "bytes of each operation's answer, as Encrypt=390,Decrypt=240")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*listen, handler(sizes)))
}

// input has the members of the requests that are measured.
type input struct {
	KeyId             string
	KeySpec           string
	Plaintext         []byte
	CiphertextBlob    []byte
	EncryptionContext map[string]string
}

type output struct {
	Filler string
}

// envelope is the size of an output whose Filler is empty.
const envelope = len(`{"Filler":""}`)

// handler answers the operation that X-Amz-Target names with a JSON body of
// exactly sizes[operation] bytes.
func handler(sizes map[string]int) http.Handler {
	answers := map[string]output{}
	for operation, size := range sizes {
		answers["TrentService."+operation] = output{strings.Repeat("x", size-envelope)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.Header.Get("X-Amz-Target")]
		if !ok {
			http.Error(w, "no -sizes for this X-Amz-Target", http.StatusBadRequest)
			return
		}
		var in input
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := json.Marshal(answer)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Write(out)
	})
	return mux
}

// sizeFlag maps operations to bytes and reads NAME=BYTES,...
type sizeFlag map[string]int

func (f sizeFlag) String() string { return "" }

func (f sizeFlag) Set(s string) error {
	for pair := range strings.SplitSeq(s, ",") {
		operation, number, ok := strings.Cut(pair, "=")
		size, err := strconv.Atoi(number)
		if !ok || err != nil {
			return errors.New("want NAME=BYTES,...")
		}
		if size < envelope {
			return fmt.Errorf("%s: the smallest answer has %d bytes", operation, envelope)
		}
		f[operation] = size
	}
	return nil
}
