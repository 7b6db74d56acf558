package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/kms"
	"github.com/kagimori/kagimori/internal/localca"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/server"
)

func serveCommand() *cli.Command {
	var flags config.Flags
	return &cli.Command{
		Name:    "serve",
		Summary: "Run the service",
		Doc:     config.Doc(),
		Flags:   func(fs *flag.FlagSet) { flags.Register(fs) },
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			cfg, err := flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			if flags.PrintConfig {
				_, err := io.WriteString(env.Stdout, cfg.TOML())
				return err
			}
			return serve(ctx, env, cfg)
		},
	}
}

// gcPercent is GOGC unless the environment sets it.
const gcPercent = 400

func newLog(env *cli.Env, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(env.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(env.Stderr, nil))
}

func serve(ctx context.Context, env *cli.Env, cfg *config.Config) (err error) {
	log := newLog(env, cfg.LogFormat)
	for _, protect := range []func() error{secmem.DisableCoreDumps, secmem.LockMemory} {
		if err := protect(); err != nil {
			log.Warn("keys in memory are less protected", "reason", err)
		}
	}
	if env.Getenv("GOGC") == "" {
		// What lives is small and what a call leaves behind is short-lived:
		// collecting less often costs a few MiB and saves a tenth of the CPU.
		debug.SetGCPercent(gcPercent)
	}
	opts := datadir.Options{
		Clock: env.Clock, Log: log, JournalSegmentSize: cfg.JournalSegmentSize,
		Root:        iam.RootCredentials{Account: cfg.AccountID, AccessKeyID: cfg.AccessKeyID, SecretKey: string(cfg.SecretAccessKey)},
		RootKeyFile: cfg.RootKeyFile,
	}
	if cfg.PassphraseFile != "" {
		if opts.Passphrase, err = seal.ReadPassphraseFile(cfg.PassphraseFile); err != nil {
			return err
		}
	}
	if cli.Terminal(env.Stdout) {
		opts.ShowRecovery = func(passphrase string) error { return showRecovery(env.Stdout, passphrase) }
	}
	attestations, err := attestationRoots(cfg.AttestationRoots)
	if err != nil {
		return err
	}
	var where buckets.Buckets
	if cfg.Buckets != "" {
		if where, err = buckets.Open(ctx, cfg.Buckets, cfg.BucketCredentials); err != nil {
			return fmt.Errorf("buckets: %w", err)
		}
	}
	targets, err := events.LoadTargets(cfg.EventTargets)
	if err != nil {
		return fmt.Errorf("event-targets: %w", err)
	}
	// The port is taken first: a folder is not made for a server that cannot run.
	listener, admin, err := listen(cfg)
	if err != nil {
		return err
	}
	defer listener.Close()
	data, err := datadir.Open(ctx, cfg.Data, opts)
	if err != nil {
		return err
	}
	reason := "signal"
	defer func() {
		if err != nil {
			reason = "error"
		}
		err = errors.Join(err, data.Close(reason))
	}()
	tlsConfig, caFile, err := serverTLS(cfg, env, data.Path, log)
	if err != nil {
		return err
	}
	srv, err := server.New(ctx, server.Options{
		Data: data, Clock: env.Clock, Log: log, TLS: tlsConfig, MaxConnections: cfg.MaxConnections,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout, BodyTimeout: cfg.BodyTimeout, IdleTimeout: cfg.IdleTimeout, DrainTimeout: cfg.DrainTimeout,
		Quotas: quotas(cfg), RequestQuotas: cfg.RequestQuotas, Attestation: attestations, Buckets: where, EventTargets: targets,
	})
	if err != nil {
		return err
	}
	defer srv.Close(context.WithoutCancel(ctx))
	if err := banner(ctx, env, data, endpoint(cfg, listener), caFile); err != nil {
		return err
	}
	err = srv.Serve(ctx, listener, admin)
	if err == nil {
		fmt.Fprintln(env.Stdout, "\nStopped: all calls in flight were answered.")
	}
	return err
}

// attestationRoots makes the verifier that trusts what is in a file; nil without one.
func attestationRoots(file string) (*attestation.Verifier, error) {
	if file == "" {
		return nil, nil
	}
	roots, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the file of attestation-roots: %w", err)
	}
	v, err := attestation.NewVerifier(roots)
	if err != nil {
		return nil, fmt.Errorf("attestation-roots: %s: %w", file, err)
	}
	return v, nil
}

func listen(cfg *config.Config) (api, admin net.Listener, err error) {
	if api, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, nil, fmt.Errorf("cannot listen on %s: %w; stop what uses the address, or choose another with --listen", cfg.Listen, err)
	}
	if cfg.AdminListen != "" {
		if admin, err = net.Listen("tcp", cfg.AdminListen); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("cannot listen on %s: %w; choose another address with --admin-listen", cfg.AdminListen, err), api.Close())
		}
	}
	return api, admin, nil
}

// serverTLS is the TLS of the API listener, nil for plain HTTP, and the CA
// certificate that clients need, if it is ours.
func serverTLS(cfg *config.Config, env *cli.Env, dir string, log *slog.Logger) (*tls.Config, string, error) {
	switch {
	case cfg.TLSAuto:
		ca, err := localca.Open(dir, []string{cfg.Host()}, env.Clock, log)
		if err != nil {
			return nil, "", err
		}
		return localca.ServerTLS(ca.GetCertificate), ca.CAFile(), nil
	case cfg.TLSCert != "":
		files, err := localca.OpenFiles(cfg.TLSCert, cfg.TLSKey, env.Clock, log)
		if err != nil {
			return nil, "", err
		}
		return localca.ServerTLS(files.GetCertificate), "", nil
	}
	return nil, "", nil
}

// endpoint is the URL for clients on this machine.
func endpoint(cfg *config.Config, l net.Listener) string {
	scheme := "http"
	if cfg.TLS() {
		scheme = "https"
	}
	host := cfg.Host()
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return scheme + "://" + net.JoinHostPort(host, port)
}

func showRecovery(w io.Writer, passphrase string) error {
	_, err := fmt.Fprintf(w, `
The recovery passphrase of this data. It opens the keys when root.key is lost.
It is shown this once: write it down and keep it in a safe place.

    %s

`, passphrase)
	return err
}

// banner tells what runs and how to use it. The secret key itself is printed
// only to a terminal; elsewhere, such as in a log, the line reads it from the
// credentials file when it is pasted.
func banner(ctx context.Context, env *cli.Env, data *datadir.Dir, endpoint, caFile string) error {
	written := datadir.CredentialsID(data.Path)
	root, err := iam.Root(ctx, data.Store, written)
	if err != nil {
		return err
	}
	secret := quote(root.SecretKey)
	credentials := datadir.CredentialsFile(data.Path)
	if !cli.Terminal(env.Stdout) {
		secret = `"$(sed -n 's/^aws_secret_access_key = //p' ` + quote(credentials) + `)"`
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Kagimori %s serves AWS KMS at %s\n\n", version(), endpoint)
	fmt.Fprintf(&b, "  account    %s\n", data.Account)
	fmt.Fprintf(&b, "  data       %s\n", data.Path)
	fmt.Fprintf(&b, "  durable    every change and every audit record is on stable storage (fsync) before its answer leaves\n")
	fmt.Fprintf(&b, "  root key   opened by %s; keep that apart from backups\n", data.Opened)
	if _, err := os.Stat(datadir.RecoveryFile(data.Path)); err == nil {
		fmt.Fprintf(&b, "  recovery   %s holds the recovery passphrase: move it to a safe place\n", datadir.RecoveryFile(data.Path))
	}
	fmt.Fprintf(&b, "\nPaste this into another terminal (any Region works):\n\n")
	fmt.Fprintf(&b, "export AWS_ENDPOINT_URL=%s\n", endpoint)
	if root.AccessKeyID == written && written != "" {
		fmt.Fprintf(&b, "export AWS_ACCESS_KEY_ID=%s\n", root.AccessKeyID)
		fmt.Fprintf(&b, "export AWS_SECRET_ACCESS_KEY=%s\n", secret)
	} else {
		fmt.Fprintf(&b, "# The root's access key in %s has been replaced: use the credentials that you made.\n", credentials)
	}
	fmt.Fprintf(&b, "export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1\n")
	if caFile != "" {
		fmt.Fprintf(&b, "export AWS_CA_BUNDLE=%s\n", quote(caFile))
	}
	b.WriteString("\n")
	_, err = io.WriteString(env.Stdout, b.String())
	return err
}

// quote quotes a path or a secret for the shell if it needs to be.
func quote(s string) string {
	if strings.ContainsFunc(filepath.ToSlash(s), func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func quotas(cfg *config.Config) kms.Quotas {
	return kms.Quotas{Keys: cfg.MaxKeys, AliasesPerKey: cfg.MaxAliases, GrantsPerKey: cfg.MaxGrants, CustomKeyStores: cfg.MaxCustomKeyStores}
}
