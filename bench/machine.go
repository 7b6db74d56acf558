//go:build linux

package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures depend on besides the code.
type machine struct {
	Kernel      string
	CPU         string
	CPUs        int
	ServerCPU   int
	LoadCPU     int
	Go          string // that built the server
	Revision    string // of the server's source, where the binary tells
	Modified    bool   // whether that source had uncommitted changes
	Environment []string
	Data        string // folder of the server's data
	FileSystem  string
	SyncMicros  float64 // median of a small write and fdatasync there
	SyncP99     float64
}

// filesystems names the magic numbers of statfs(2).
var filesystems = map[int64]string{
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.XFS_SUPER_MAGIC:       "xfs",
	0x2fc12fc1:                 "zfs",
}

// look describes the machine, the server's binary and the data folder.
func look(serverCPU, loadCPU int, binary, data string) (machine, error) {
	m := machine{CPUs: runtime.NumCPU(), ServerCPU: serverCPU, LoadCPU: loadCPU, Go: "unknown", CPU: "unknown", Revision: "unknown", Data: data}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return m, os.NewSyscallError("uname", err)
	}
	m.Kernel = fmt.Sprintf("Linux %s %s", unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]))
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if info, err := buildinfo.ReadFile(binary); err == nil {
		m.Go = info.GoVersion
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				m.Revision = setting.Value
			case "vcs.modified":
				m.Modified = setting.Value == "true"
			}
		}
	}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value := os.Getenv(name); value != "" {
			m.Environment = append(m.Environment, name+"="+value)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(data, &fs); err != nil {
		return m, os.NewSyscallError("statfs", err)
	}
	m.FileSystem = filesystems[int64(fs.Type)]
	if m.FileSystem == "" {
		m.FileSystem = fmt.Sprintf("type %#x", fs.Type)
	}
	median, p99, err := probeSync(data)
	m.SyncMicros, m.SyncP99 = micros(median), micros(p99)
	return m, err
}

// probeSync measures what a record costs the disk at least: it appends 512
// bytes to a file with space set aside, as a journal does, and syncs them.
func probeSync(dir string) (median, p99 time.Duration, err error) {
	const writes, size = 200, 512
	f, err := os.Create(filepath.Join(dir, "sync-probe"))
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, writes*size)); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, err
	}
	var took []time.Duration
	for i := range writes {
		begin := stopwatch()
		if _, err := f.WriteAt(make([]byte, size), int64(i*size)); err != nil {
			return 0, 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, 0, os.NewSyscallError("fdatasync", err)
		}
		took = append(took, stopwatch()-begin)
	}
	slices.Sort(took)
	return percentile(took, 50), percentile(took, 99), nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
