//go:build linux

// Command bench measures what Kagimori costs over the least that any Go server
// of its kind would: it runs the real server and a bare net/http server (the
// floor) on one CPU in turn, sends both the very same bytes from another, and
// prints throughput, latency, CPU and memory of both and the ratio.
//
// A run fails when any answer is not a 200 of the expected size, or when the
// server does not do the work that is measured. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sys/unix"
)

// config is what the flags say.
type config struct {
	server     string // binary; empty to build it
	floor      string // binary; empty to build it
	data       string // folder for the data; empty for one in the repository
	json       string // file for the figures; empty for none
	crypto     bool   // measure algorithms against their primitives instead
	records    int    // audit records to measure with instead; 0 for none
	operations []string
	conns      []int
	rounds     int
	warm       time.Duration // load before each measurement, not counted
	duration   time.Duration // of each measurement
}

func main() {
	cfg := config{warm: 100 * time.Millisecond}
	names := make([]string, len(operations))
	for i, op := range operations {
		names[i] = op.name
	}
	flag.StringVar(&cfg.server, "server", "", "server `binary` to measure (default: build ./cmd/kagimori)")
	flag.StringVar(&cfg.floor, "floor", "", "floor `binary` to compare with (default: build ./bench/floor)")
	flag.StringVar(&cfg.data, "data", "", "`folder` on the disk to measure; a temporary folder is made in it (default: the repository's bench)")
	flag.StringVar(&cfg.json, "json", "", "`file` to write all figures to")
	flag.BoolVar(&cfg.crypto, "crypto", false, "measure algorithms against the bare primitives in Go, instead of calls against the floor")
	flag.IntVar(&cfg.records, "records", 0, "measure the index and the transparency log over that `number` of audit records instead; ten million take 20 GB of disk")
	ops := flag.String("ops", strings.Join(names, ","), "operations")
	conns := flag.String("conns", "1,16,64", "numbers of connections")
	flag.IntVar(&cfg.rounds, "rounds", 11, "times that each cell is measured")
	flag.DurationVar(&cfg.duration, "duration", 700*time.Millisecond, "length of one measurement")
	flag.Parse()

	err := cfg.parse(*ops, *conns)
	if err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the lists and checks what the flags say.
func (cfg *config) parse(ops, conns string) error {
	for name := range strings.SplitSeq(ops, ",") {
		if inputOf(name) == nil {
			return fmt.Errorf("-ops: %q is not one of Encrypt, Decrypt, GenerateDataKey", name)
		}
		cfg.operations = append(cfg.operations, name)
	}
	for number := range strings.SplitSeq(conns, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 10000 {
			return fmt.Errorf("-conns: %q is not a number from 1 to 10000", number)
		}
		cfg.conns = append(cfg.conns, n)
	}
	if cfg.rounds < 1 {
		return errors.New("-rounds: want at least 1")
	}
	// Both servers are measured with the same signatures.
	if longest := (signatureLife - time.Minute) / 2; cfg.duration <= 0 || cfg.duration > longest {
		return fmt.Errorf("-duration: want more than 0 and at most %v", longest)
	}
	return nil
}

// run measures and prints.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	serverCPU, loadCPU := cores(&allowed)
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if cfg.data == "" {
		cfg.data = filepath.Join(root, "bench")
	}
	if cfg.records > 0 {
		return measureRecords(ctx, cfg.records, cfg.data, out)
	}
	dir, err := os.MkdirTemp(cfg.data, "data-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if cfg.server == "" {
		cfg.server = filepath.Join(dir, "kagimori")
		if err := build(ctx, root, cfg.server, "./cmd/kagimori"); err != nil {
			return err
		}
	}
	if cfg.floor == "" {
		cfg.floor = filepath.Join(dir, "floor")
		if err := build(ctx, root, cfg.floor, "./bench/floor"); err != nil {
			return err
		}
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pin(oneCPU(loadCPU)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pin(&allowed)) }()
	m, err := look(serverCPU, loadCPU, cfg.server, dir)
	if err != nil {
		return err
	}
	m.print(out)

	// (a) The server, with credentials that were never anyone's.
	creds := aws.Credentials{AccessKeyID: "AKIABENCHBENCHBENCH1", SecretAccessKey: "bench/bench/bench/bench/bench/bench/benc"}
	serverAddr, err := freePort()
	if err != nil {
		return err
	}
	server, err := start(ctx, dir, "server", serverCPU, loadCPU, serverAddr, []string{
		"KAGIMORI_ACCOUNT_ID=111122223333",
		"KAGIMORI_ROOT_ACCESS_KEY_ID=" + creds.AccessKeyID,
		"KAGIMORI_ROOT_SECRET_ACCESS_KEY=" + creds.SecretAccessKey,
	}, cfg.server, "serve", "--data", filepath.Join(dir, "data"), "--listen", serverAddr.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	c := &client{addr: serverAddr, creds: creds}
	w, err := newWorkload(c)
	if err != nil {
		return err
	}
	if err := w.verify(c); err != nil {
		return err
	}

	if cfg.crypto {
		return measureAlgorithms(ctx, cfg, server, c, serverCPU, out)
	}

	// (b) The floor, which answers as many bytes.
	sizes := map[string]int{}
	var sizesFlag []string
	for _, op := range cfg.operations {
		if sizes[op], err = w.answerSize(c, op); err != nil {
			return err
		}
		sizesFlag = append(sizesFlag, fmt.Sprintf("%s=%d", op, sizes[op]))
	}
	floorAddr, err := freePort()
	if err != nil {
		return err
	}
	floor, err := start(ctx, dir, "floor", serverCPU, loadCPU, floorAddr, nil,
		cfg.floor, "-listen", floorAddr.String(), "-sizes", strings.Join(sizesFlag, ","))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.stop()) }()

	cells := newCells(cfg)
	total := time.Duration(2*len(cells)*cfg.rounds) * (cfg.warm + cfg.duration)
	fmt.Fprintf(out, "pids      server %d, floor %d (to attach perf)\n", server.cmd.Process.Pid, floor.cmd.Process.Pid)
	fmt.Fprintf(out, "measuring rounds: %d of %v, about %v in all\n\n", cfg.rounds, cfg.duration, total.Round(time.Second))
	for round := range cfg.rounds {
		for i := range cells {
			cell := &cells[i]
			requests, err := w.sign(c, cell.Operation)
			if err != nil {
				return err
			}
			l := load{conns: cell.Connections, requests: requests, size: sizes[cell.Operation], warm: cfg.warm, duration: cfg.duration}
			turns := []turn{{server, &cell.Server}, {floor, &cell.Floor}}
			if round%2 == 1 { // who goes first alternates, so that drift cancels
				slices.Reverse(turns)
			}
			for _, t := range turns {
				figures, err := measure(ctx, l, t.process)
				if err != nil {
					return fmt.Errorf("%s, %s with %d connections: %w\n%s",
						t.process.name, cell.Operation, cell.Connections, err, t.process.lastWords())
				}
				*t.rounds = append(*t.rounds, figures)
			}
		}
	}
	if err := w.verify(c); err != nil {
		return fmt.Errorf("after the load: %w", err)
	}
	printCells(out, cells)
	if cfg.json != "" {
		return writeJSON(cfg, m, sizes, cells)
	}
	return nil
}

// turn is one server's part in a round of a cell.
type turn struct {
	process *process
	rounds  *[]figures
}

// measure runs the load against one server and returns what it took.
func measure(ctx context.Context, l load, p *process) (figures, error) {
	runtime.GC() // now, rather than under load
	if err := p.resetPeak(); err != nil {
		return figures{}, err
	}
	var edges []usage
	l.addr = p.addr
	l.edge = func() error {
		u, err := p.usage()
		edges = append(edges, u)
		return err
	}
	latencies, elapsed, err := l.run(ctx)
	if err != nil {
		return figures{}, err
	}
	peak, err := p.peak()
	if err != nil {
		return figures{}, err
	}
	used := usage{
		server: edges[1].server - edges[0].server,
		load:   edges[1].load - edges[0].load,
		core:   edges[1].core - edges[0].core,
	}
	calls := float64(len(latencies))
	return figures{
		OpsPerSecond: calls / elapsed.Seconds(),
		P50Micros:    micros(percentile(latencies, 50)),
		P99Micros:    micros(percentile(latencies, 99)),
		CPUMicros:    micros(used.server) / calls,
		PeakMiB:      float64(peak) / (1 << 20),
		ServerBusy:   used.server.Seconds() / elapsed.Seconds(),
		LoadBusy:     used.load.Seconds() / elapsed.Seconds(),
		OthersBusy:   max(0, (used.core-used.server).Seconds()/elapsed.Seconds()),
	}, nil
}

// writeJSON keeps everything that was measured, round by round.
func writeJSON(cfg config, m machine, sizes map[string]int, cells []cell) error {
	encoded, err := json.MarshalIndent(struct {
		Machine     machine
		Seconds     float64 // of one measurement
		AnswerBytes map[string]int
		Cells       []cell
	}{m, cfg.duration.Seconds(), sizes, cells}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(cfg.json, append(encoded, '\n'), 0o644)
}

// moduleRoot returns the folder of the module that the bench is run in.
func moduleRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	if _, err := os.Stat(filepath.Join(root, "bench", "floor")); err != nil {
		return "", errors.New("run it inside Kagimori's repository: go run ./bench")
	}
	return root, nil
}

// build compiles a command of the module, with the revision in it whatever
// GOFLAGS say.
func build(ctx context.Context, root, binary, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-o", binary, pkg)
	cmd.Dir = root
	if printed, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, printed)
	}
	return nil
}
