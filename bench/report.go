//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// figures are what one measurement of one server gave.
type figures struct {
	OpsPerSecond float64
	P50Micros    float64 // latency that half of the calls did not exceed
	P99Micros    float64
	CPUMicros    float64 // CPU time of the server process for one call
	PeakMiB      float64 // most resident memory during the measurement
	ServerBusy   float64 // share of its CPU that the server used, 0 to 1
	LoadBusy     float64 // share of its CPU that the load used
	OthersBusy   float64 // share of the server's CPU that went elsewhere: other programs, interrupts, the hypervisor
}

// cell is one row of the table: an operation at a number of connections.
type cell struct {
	Operation     string
	Connections   int
	Server, Floor []figures // by round
}

func newCells(cfg config) []cell {
	var cells []cell
	for _, op := range cfg.operations {
		for _, conns := range cfg.conns {
			cells = append(cells, cell{Operation: op, Connections: conns})
		}
	}
	return cells
}

// ratios returns how much of the floor's throughput the server reached in each
// round, and the same by CPU: how much of the server's CPU per call the floor
// took. Only figures of one round are compared, which were taken seconds apart.
func (c *cell) ratios() (ops, cpu []float64) {
	for i, a := range c.Server {
		b := c.Floor[i]
		ops = append(ops, a.OpsPerSecond/b.OpsPerSecond)
		cpu = append(cpu, b.CPUMicros/a.CPUMicros)
	}
	return ops, cpu
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// over returns the median over rounds of one figure.
func over(rounds []figures, figure func(figures) float64) float64 {
	values := make([]float64, len(rounds))
	for i, f := range rounds {
		values[i] = figure(f)
	}
	return median(values)
}

// Above these shares a cell's figures say less about the server.
const (
	loadLimit   = 0.90 // the load itself may be the bottleneck
	othersLimit = 0.10 // the server did not have its CPU to itself
)

// printCells prints the table: medians over the rounds.
func printCells(out io.Writer, cells []cell) {
	group := func(name string) string { // centred over its columns
		name = " " + name + " "
		left := (49 - len(name)) / 2
		return strings.Repeat("-", left) + name + strings.Repeat("-", 49-len(name)-left)
	}
	fmt.Fprintf(out, "%-15s %5s  %s  %s\n", "", "", group("a: kagimori"), group("b: floor"))
	columns := fmt.Sprintf("%7s %7s %7s %6s %5s %5s %6s", "ops/s", "p50 µs", "p99 µs", "CPU µs", "busy", "load", "MiB")
	fmt.Fprintf(out, "%-15s %5s  %s  %s  %s\n", "operation", "conns", columns, columns, "a/b [min-max]    by CPU")
	var notes []string
	for _, c := range cells {
		fmt.Fprintf(out, "%-15s %5d", c.Operation, c.Connections)
		var load, others float64
		for _, rounds := range [][]figures{c.Server, c.Floor} {
			loadBusy := over(rounds, func(f figures) float64 { return f.LoadBusy })
			fmt.Fprintf(out, "  %7.0f %7.0f %7.0f %6.1f %4.0f%% %4.0f%% %6.1f",
				over(rounds, func(f figures) float64 { return f.OpsPerSecond }),
				over(rounds, func(f figures) float64 { return f.P50Micros }),
				over(rounds, func(f figures) float64 { return f.P99Micros }),
				over(rounds, func(f figures) float64 { return f.CPUMicros }),
				100*over(rounds, func(f figures) float64 { return f.ServerBusy }),
				100*loadBusy,
				slices.Max(peaks(rounds)))
			load = max(load, loadBusy)
			others = max(others, over(rounds, func(f figures) float64 { return f.OthersBusy }))
		}
		ops, cpu := c.ratios()
		fmt.Fprintf(out, "  %.2f [%.2f-%.2f]  %.2f\n", median(ops), slices.Min(ops), slices.Max(ops), median(cpu))
		row := fmt.Sprintf("%s %d", c.Operation, c.Connections)
		if load > loadLimit {
			notes = append(notes, fmt.Sprintf("%s: the load used %.0f%% of its CPU and may have been the bottleneck", row, 100*load))
		}
		if others > othersLimit {
			notes = append(notes, fmt.Sprintf("%s: %.0f%% of the servers' CPU went to others (programs, interrupts, hypervisor)", row, 100*others))
		}
	}
	fmt.Fprintln(out, "\nmedians over the rounds; MiB is the highest; a/b compares within each round: ops/s, and CPU per call (b/a)")
	fmt.Fprintln(out, "every answer was 200 and of the right size")
	for _, note := range notes {
		fmt.Fprintln(out, "beware:", note)
	}
}

func peaks(rounds []figures) []float64 {
	var values []float64
	for _, f := range rounds {
		values = append(values, f.PeakMiB)
	}
	return values
}

// print prints what the figures depend on.
func (m machine) print(out io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}
	revision := m.Revision
	if m.Modified {
		revision += " with changes"
	}
	line("kernel", "%s", m.Kernel)
	line("cpu", "%s, %d allowed", m.CPU, m.CPUs)
	line("server", "revision %s, %s", revision, m.Go)
	switch {
	case m.ServerCPU == m.LoadCPU:
		line("pinning", "none to speak of: one CPU for server and load. The ratio says little.")
	case coreOf(m.ServerCPU) == coreOf(m.LoadCPU):
		line("pinning", "servers on CPU %d, load on CPU %d, which share a physical core and slow each other", m.ServerCPU, m.LoadCPU)
	default:
		line("pinning", "servers on CPU %d, load on CPU %d", m.ServerCPU, m.LoadCPU)
	}
	if len(m.Environment) > 0 {
		line("settings", "%s, for both servers", strings.Join(m.Environment, " "))
	}
	line("data", "%s on %s", m.Data, m.FileSystem)
	line("sync", "%.0f µs median, %.0f µs p99 for 512 bytes and fdatasync there", m.SyncMicros, m.SyncP99)
	if m.FileSystem == "tmpfs" || m.FileSystem == "ramfs" {
		line("beware", "the data folder is in memory: durability costs nothing here. Use -data to name a folder on a disk.")
	}
}
