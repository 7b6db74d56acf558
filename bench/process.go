//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kagimori/kagimori/internal/clock"
)

const maxCPUs = 1024 // what a unix.CPUSet holds

// cores returns where the server and the load run: two of the allowed CPUs, on
// different physical cores if there are such. With one CPU both are the same.
func cores(allowed *unix.CPUSet) (server, load int) {
	server, load = -1, -1
	for cpu := range maxCPUs {
		switch {
		case !allowed.IsSet(cpu):
		case server < 0:
			server, load = cpu, cpu
		case coreOf(cpu) != coreOf(server):
			return server, cpu
		case load == server:
			load = cpu
		}
	}
	return server, load
}

// coreOf names the physical core of a CPU: its list of hardware threads.
func coreOf(cpu int) string {
	siblings, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return strconv.Itoa(cpu)
	}
	return string(siblings)
}

// oneCPU is the set of one CPU.
func oneCPU(cpu int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(cpu)
	return &set
}

// pin ties every thread of this process to the CPUs, which later threads inherit.
func pin(cpus *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		// A thread may have ended meanwhile.
		if err := unix.SchedSetaffinity(tid, cpus); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}

// process is a running server.
type process struct {
	name   string
	addr   netip.AddrPort
	cpu    int
	cmd    *exec.Cmd
	log    string // file with what it printed
	exited chan error
}

// start runs a server on one CPU, as taskset would, and waits until it is
// ready. The caller must be locked to its thread, pinned to the CPU back.
func start(ctx context.Context, dir, name string, cpu, back int, addr netip.AddrPort, env []string, argv ...string) (*process, error) {
	p := &process{name: name, addr: addr, cpu: cpu, log: filepath.Join(dir, name+".log"), exited: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches it through stop only.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	// A child inherits the CPUs of the thread that starts it, before its runtime
	// counts them.
	if err := unix.SchedSetaffinity(0, oneCPU(cpu)); err != nil {
		return nil, os.NewSyscallError("sched_setaffinity", err)
	}
	err = p.cmd.Start()
	if err := errors.Join(err, unix.SchedSetaffinity(0, oneCPU(back))); err != nil {
		return nil, err
	}
	go func() { p.exited <- p.cmd.Wait() }()

	c := &client{addr: addr}
	for range 1500 { // times 20 ms: half a minute
		if c.ready() {
			return p, nil
		}
		select {
		case err := <-p.exited:
			p.exited <- err
			return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", name, err, p.lastWords())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), p.stop())
		case <-clock.System().After(20 * time.Millisecond):
		}
	}
	return nil, errors.Join(fmt.Errorf("%s: /readyz was not 200 within half a minute\n%s", name, p.lastWords()), p.stop())
}

// stop ends the server with SIGTERM and reports when it exits with an error or
// not at all. Dying of the signal itself, as the floor does, is no error.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.exited:
		p.exited <- err
		status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if err != nil && status.Signal() != syscall.SIGTERM {
			return fmt.Errorf("%s ended with %w\n%s", p.name, err, p.lastWords())
		}
		return nil
	case <-clock.System().After(silence):
		p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM\n%s", p.name, silence, p.lastWords())
	}
}

// lastWords returns the end of what the server printed.
func (p *process) lastWords() string {
	printed, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(printed[max(0, len(printed)-2000):])
}

// freePort returns an address on loopback that nobody listens on.
func freePort() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return netip.ParseAddrPort(l.Addr().String())
}

// usage is what has been used up to a moment.
type usage struct {
	server time.Duration // CPU of the server process
	load   time.Duration // CPU of this process
	core   time.Duration // time that the server's CPU was not idle, whoever ran
}

// usage reads the counters. Times of /proc count in ticks of 10 ms.
// https://docs.kernel.org/filesystems/proc.html
func (p *process) usage() (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return usage{}, fmt.Errorf("%s is gone: %w\n%s", p.name, err, p.lastWords())
	}
	server, err := processTime(stat)
	if err != nil {
		return usage{}, err
	}
	stat, err = os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}, err
	}
	core, err := coreTime(stat, p.cpu)
	if err != nil {
		return usage{}, err
	}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		return usage{}, os.NewSyscallError("getrusage", err)
	}
	return usage{server, time.Duration(self.Utime.Nano() + self.Stime.Nano()), core}, nil
}

const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux

// processTime returns utime+stime of /proc/PID/stat. The command's name, the
// second field, may hold blanks and brackets.
func processTime(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	return ticks(fields[11:13])
}

// coreTime returns the time that a CPU was not idle by /proc/stat, whose lines
// are: name, user, nice, system, idle, iowait, irq, softirq, steal, and guest
// times that user and nice include.
func coreTime(stat []byte, cpu int) (time.Duration, error) {
	for line := range strings.Lines(string(stat)) {
		fields := strings.Fields(line)
		if len(fields) >= 9 && fields[0] == "cpu"+strconv.Itoa(cpu) {
			return ticks(append(fields[1:4:4], fields[6:9]...))
		}
	}
	return 0, fmt.Errorf("/proc/stat has no cpu%d", cpu)
}

func ticks(fields []string) (time.Duration, error) {
	var sum time.Duration
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// resetPeak lets the peak of the server's resident memory start anew.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// peak returns the most resident memory since resetPeak, VmHWM, in bytes.
func (p *process) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/PID/status has no VmHWM")
}
