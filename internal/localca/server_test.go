package localca_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/localca"
)

// pairFiles writes a certificate and its key into the two files of dir, as an
// operator's renewal does.
func pairFiles(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	made := t.TempDir()
	open(t, made, newClock(), "kms.example.com")
	pair := string(read(t, filepath.Join(made, "tls/server.pem")))
	key, cert, _ := strings.Cut(pair, "-----BEGIN CERT")
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace(t, certFile, "-----BEGIN CERT"+cert)
	replace(t, keyFile, key)
	return certFile, keyFile
}

// replace puts a new file in the place of name.
func replace(t *testing.T, name, content string) {
	t.Helper()
	write(t, name+".tmp", []byte(content))
	if err := os.Rename(name+".tmp", name); err != nil {
		t.Fatal(err)
	}
}

func TestFilesReload(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	certFile, keyFile := pairFiles(t, dir)
	var log strings.Builder
	files, err := localca.OpenFiles(certFile, keyFile, clk, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := serial(t, files)
	clk.Advance(time.Minute)
	if serial(t, files) != first || log.Len() > 0 {
		t.Errorf("taken for changed: %s", &log)
	}

	pairFiles(t, dir)
	if serial(t, files) != first {
		t.Error("looked twice within a second")
	}
	clk.Advance(time.Second)
	second := serial(t, files)
	if second == first {
		t.Error("a new pair was not taken up")
	}

	// Half of a pair, or nothing: the former certificate stays, told once.
	oldKey := string(read(t, keyFile))
	pairFiles(t, dir)
	newKey := string(read(t, keyFile))
	replace(t, keyFile, oldKey)
	log.Reset()
	for range 3 {
		clk.Advance(time.Second)
		if serial(t, files) != second {
			t.Error("the certificate changed without its key")
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), certFile) || !strings.Contains(log.String(), keyFile) {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	replace(t, keyFile, newKey)
	clk.Advance(time.Second)
	third := serial(t, files)
	if third == second {
		t.Error("a pair whose key came later was not taken up")
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Second)
	if serial(t, files) != third {
		t.Error("the certificate went with its file")
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := pairFiles(t, dir)
	pairFiles(t, t.TempDir())
	none := filepath.Join(dir, "none.pem")
	for _, test := range [][2]string{{none, keyFile}, {certFile, none}, {keyFile, certFile}, {certFile, certFile}} {
		_, err := localca.OpenFiles(test[0], test[1], newClock(), quiet())
		if err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v: error %v does not name the files", test, err)
		}
	}
}
