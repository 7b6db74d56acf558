package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/translog"
)

// logFlags are the flags of the commands about the transparency log.
type logFlags struct {
	config.Flags
	keys, checkpoint string
}

// register adds --data, --keys, and --checkpoint with its usage text if there is one.
func (f *logFlags) register(fs *flag.FlagSet, checkpoint string) {
	f.Flags.Register(fs, "data")
	fs.StringVar(&f.keys, "keys", "", "`FILE` with the log's keys, and with those of witnesses, if any; else the folder's own")
	if checkpoint != "" {
		fs.StringVar(&f.checkpoint, "checkpoint", "", checkpoint)
	}
}

// transparencyLog is a log in a data folder, seen from outside.
type transparencyLog struct {
	dir, journal string
	keys         *translog.Keys
	checkpoint   []byte // that was named; nil if none was
}

func (f *logFlags) open(env *cli.Env) (*transparencyLog, error) {
	cfg, err := f.Load(env.Getenv)
	if err != nil {
		return nil, err
	}
	l := &transparencyLog{dir: datadir.TransparencyDir(cfg.Data)}
	if l.journal, err = journalDir(cfg.Data); err != nil {
		return nil, err
	}
	file := f.keys
	if file == "" {
		file = translog.KeysFile(l.dir)
	}
	if l.keys, err = readKeys(file); err != nil {
		return nil, err
	}
	if f.checkpoint != "" {
		l.checkpoint, err = os.ReadFile(f.checkpoint)
	}
	return l, err
}

func readKeys(file string) (*translog.Keys, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := translog.ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func auditKeys() *cli.Command {
	var flags config.Flags
	return &cli.Command{
		Name: "keys", Summary: "Print the public keys of the transparency log",
		Doc:   "Give them to who is to check the log or a proof, by a way that they trust.",
		Flags: func(fs *flag.FlagSet) { flags.Register(fs, "data") },
		Run: func(_ context.Context, env *cli.Env, _ []string) error {
			cfg, err := flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(translog.KeysFile(datadir.TransparencyDir(cfg.Data)))
			if err != nil {
				return err
			}
			_, err = env.Stdout.Write(text)
			return err
		},
	}
}

func auditVerify() *cli.Command {
	var flags logFlags
	return &cli.Command{
		Name: "verify", Summary: "Hold every audit record to the signed transparency log",
		Doc: "It needs no server and no secret: journal/ and transparency/ of a data folder, or copies of them.\n" +
			"With a checkpoint that you have kept, it also finds out whether what was recorded up to then is\n" +
			"still what it was. Take keys and checkpoint from where who runs the server cannot change them.",
		Flags: func(fs *flag.FlagSet) { flags.register(fs, "`FILE` with an older checkpoint of this log") },
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			l, err := flags.open(env)
			if err != nil {
				return err
			}
			var older [][]byte
			if l.checkpoint != nil {
				older = [][]byte{l.checkpoint}
			}
			progress := env.Progress("verify", func(n int64) string { return fmt.Sprintf("%d records", n) })
			r, err := translog.Verify(ctx, l.dir, l.journal, l.keys, older, progress.Set)
			progress.Done()
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "The log %s is whole.\n  signed     %d records\n  read       records %d to %d, every one held to it\n", r.Origin, r.Size, r.First, min(r.Last, r.Size))
			if r.Last > r.Size {
				fmt.Fprintf(env.Stdout, "  not yet    %d records are newer than the last checkpoint\n", r.Last-r.Size)
			}
			if flags.keys == "" {
				fmt.Fprintln(env.Stdout, "The keys are those of the folder itself; to trust another source, name it with --keys.")
			}
			return nil
		},
	}
}

func auditProve() *cli.Command {
	var flags logFlags
	var since string
	return &cli.Command{
		Name: "prove", Args: "[EVENT-ID]", Summary: "Print a proof that a record is in the log, or that the log has only grown",
		Doc: "With EVENT-ID, the eventID of an audit record, the proof holds that record. With --since FILE, an\n" +
			"older checkpoint, it proves that the log still begins with what that checkpoint is about.\n" +
			"A proof stands alone: kagimori audit check-proof needs it and the log's keys, nothing else.",
		Flags: func(fs *flag.FlagSet) {
			flags.register(fs, "`FILE` with the checkpoint to prove it for, for example one that a witness has signed; else the last one")
			fs.StringVar(&since, "since", "", "`FILE` with the older checkpoint")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if (len(args) == 1) == (since != "") {
				return cli.Usagef("name either an event id or, with --since, a checkpoint")
			}
			l, err := flags.open(env)
			if err != nil {
				return err
			}
			tree, checkpoint, err := translog.Load(l.dir, l.journal, l.keys, l.checkpoint)
			if err != nil {
				return err
			}
			var proof []byte
			if since != "" {
				var older []byte
				if older, err = os.ReadFile(since); err == nil {
					proof, err = tree.ProveTree(l.keys, older, checkpoint)
				}
			} else {
				var e journal.Entry
				if e, err = findEvent(ctx, l.journal, args[0]); err == nil {
					proof, err = tree.ProveRecord(e.Seq, e.Record, checkpoint)
				}
			}
			if err == nil {
				_, err = env.Stdout.Write(proof)
			}
			return err
		},
	}
}

// findEvent is the audit record with that eventID.
func findEvent(ctx context.Context, dir, id string) (found journal.Entry, err error) {
	err = findRecords(ctx, dir, id, func(e journal.Entry) bool {
		var record struct{ EventID string }
		if json.Unmarshal(e.Record, &record) == nil && record.EventID == id {
			found = e
		}
		return found.Record == nil
	})
	if err == nil && found.Record == nil {
		err = fmt.Errorf("there is no record with the eventID %s in the journal", id)
	}
	return found, err
}

func auditCheckProof() *cli.Command {
	var keysFile string
	return &cli.Command{
		Name: "check-proof", Args: "FILE", Summary: "Check a proof of kagimori audit prove, and print the record that it proves",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&keysFile, "keys", "", "`FILE` with the log's keys, as kagimori audit keys prints them, and with those of witnesses, if any")
		},
		Run: func(_ context.Context, env *cli.Env, args []string) error {
			if keysFile == "" {
				return cli.Usage(errors.New("name the file with the log's keys with --keys"))
			}
			keys, err := readKeys(keysFile)
			if err != nil {
				return err
			}
			proof, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			p, err := translog.CheckProof(keys, proof)
			if err != nil {
				return err
			}
			if p.Record == nil {
				_, err = fmt.Fprintf(env.Stdout, "The log %s of %d records begins with the %d of the older checkpoint, unchanged.\n", p.Origin, p.Size, p.Old)
				return err
			}
			fmt.Fprintf(env.Stderr, "Record %d of the %d in the log %s:\n", p.Index+1, p.Size, p.Origin)
			_, err = fmt.Fprintf(env.Stdout, "%s\n", p.Record)
			return err
		},
	}
}
