package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
)

// followInterval is how often audit tail -f looks for new records.
const followInterval = 200 * time.Millisecond

func auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Summary: "Read the audit journal, and prove what is in it",
		Commands: []*cli.Command{auditTail(), auditKeys(), auditVerify(), auditProve(), auditCheckProof()},
	}
}

func auditTail() *cli.Command {
	var flags config.Flags
	var follow bool
	var n uint64
	return &cli.Command{
		Name: "tail", Summary: "Print the newest audit records, one JSON object a line",
		Flags: func(fs *flag.FlagSet) {
			flags.Register(fs, "data")
			fs.BoolVar(&follow, "f", false, "go on printing as records are written")
			fs.Uint64Var(&n, "n", 10, "how many `RECORDS` to print; 0 for all")
		},
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			cfg, err := flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			dir, err := journalDir(cfg.Data)
			if err != nil {
				return err
			}
			last, err := journal.Last(dir)
			if err != nil {
				return err
			}
			from := uint64(0)
			if n > 0 && last > n {
				from = last - n + 1
			}
			entries := func(from uint64) iter.Seq2[journal.Entry, error] {
				if follow {
					return journal.Follow(ctx, dir, from, env.Clock, followInterval)
				}
				return journal.Read(dir, from)
			}
			err = printRecords(env.Stdout, entries(from), follow)
			if errors.Is(err, journal.ErrGone) { // moved away: then from the oldest that is there
				err = printRecords(env.Stdout, entries(0), follow)
			}
			return err
		},
	}
}

// journalDir is the journal of a data folder, which must be there.
func journalDir(data string) (string, error) {
	dir := datadir.JournalDir(data)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("there is no audit journal in %s; name the data folder with --data: %w", data, err.(*fs.PathError).Err)
	}
	return dir, nil
}

// findRecords gives the records of the journal that have text in them to found, until that
// says false.
func findRecords(ctx context.Context, dir, text string, found func(journal.Entry) bool) error {
	wanted := []byte(text)
	for e, err := range journal.Read(dir, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if bytes.Contains(e.Record, wanted) && !found(e) {
			return nil
		}
	}
	return nil
}

// printRecords prints records a line each, every one at once if somebody waits
// for it.
func printRecords(w io.Writer, entries iter.Seq2[journal.Entry, error], flush bool) error {
	out := bufio.NewWriter(w)
	for e, err := range entries {
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
		out.Write(e.Record)
		if err := out.WriteByte('\n'); err != nil { // nobody reads any more
			return err
		}
		if flush {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}
