//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is where the stopwatch starts. Elapsed time is measured with the
// monotonic clock, which clock.Clock, made for points in time, does not carry.
var epoch = time.Now()

func stopwatch() time.Duration { return time.Since(epoch) }

// silence is how long the load waits for an answer before it gives up.
const silence = 10 * time.Second

// load is a closed loop: every connection has one request under way and sends
// the next one as soon as the answer to it is complete. One thread serves all
// connections with epoll, so that a call costs the load one read, one write and
// its share of one wait.
type load struct {
	addr     netip.AddrPort
	conns    int
	requests [][]byte // sent in turn, byte for byte
	size     int      // bytes that every answer's body must have
	fewer    int      // how many bytes less are right, too: for signatures in DER
	warm     time.Duration
	duration time.Duration
	// edge is called when measuring begins and again when it ends.
	edge func() error
}

// connection is one TCP connection of the load.
type connection struct {
	fd   int
	next int // index of the request to send next
	sent time.Duration
	buf  []byte // what has been read of the answer
}

// run sends load for warm and then duration. It returns the latency of every
// call that was answered within duration, sorted, and how long that really was.
// An answer that is not 200 or has another size ends the run with an error.
func (l *load) run(ctx context.Context) ([]time.Duration, time.Duration, error) {
	// Room for 200,000 calls a second, so that nothing is allocated on the way.
	latencies := make([]time.Duration, 0, int(200_000*l.duration.Seconds())+1)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, 0, os.NewSyscallError("epoll_create1", err)
	}
	defer unix.Close(epoll)
	conns := make([]connection, l.conns)
	for i := range conns {
		fd, err := dial(l.addr)
		if err != nil {
			return nil, 0, err
		}
		defer unix.Close(fd)
		conns[i] = connection{fd: fd, next: i * len(l.requests) / l.conns, buf: make([]byte, 0, maxHead+maxBody+8)}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return nil, 0, os.NewSyscallError("epoll_ctl", err)
		}
	}

	start := stopwatch()
	var begin, end time.Duration // of measuring; zero until then
	for i := range conns {
		if err := l.send(&conns[i], start); err != nil {
			return nil, 0, err
		}
	}
	events := make([]unix.EpollEvent, l.conns)
	for underway := l.conns; underway > 0; {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		n, err := unix.EpollWait(epoll, events, int(silence.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, 0, os.NewSyscallError("epoll_wait", err)
		}
		if n == 0 {
			return nil, 0, fmt.Errorf("%d calls got no answer within %v", underway, silence)
		}
		for _, event := range events[:n] {
			c := &conns[event.Fd]
			done, err := l.receive(c)
			if err != nil {
				return nil, 0, err
			}
			if !done {
				continue
			}
			now := stopwatch()
			switch {
			case begin == 0:
				if now >= start+l.warm {
					if err := l.edge(); err != nil {
						return nil, 0, err
					}
					now = stopwatch()
					begin = now
				}
			case end == 0:
				latencies = append(latencies, now-c.sent)
				if now >= begin+l.duration {
					end = now
					if err := l.edge(); err != nil {
						return nil, 0, err
					}
				}
			}
			if end != 0 {
				underway--
				continue
			}
			if err := l.send(c, now); err != nil {
				return nil, 0, err
			}
		}
	}
	slices.Sort(latencies)
	return latencies, end - begin, nil
}

// send puts the connection's next request on the wire.
func (l *load) send(c *connection, now time.Duration) error {
	request := l.requests[c.next]
	c.next = (c.next + 1) % len(l.requests)
	c.sent = now
	n, err := unix.Write(c.fd, request)
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	// The socket's buffer is empty between calls and larger than any request.
	if n != len(request) {
		return io.ErrShortWrite
	}
	return nil
}

// receive reads what has come and reports whether the answer is complete.
func (l *load) receive(c *connection) (bool, error) {
	n, err := unix.Read(c.fd, c.buf[len(c.buf):cap(c.buf)])
	if err == unix.EAGAIN || err == unix.EINTR {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("read", err)
	}
	if n == 0 {
		return false, errors.New("the server closed a connection")
	}
	c.buf = c.buf[:len(c.buf)+n]
	r, done, err := parseResponse(c.buf)
	if err != nil || !done {
		return false, err
	}
	if r.status != 200 {
		return false, fmt.Errorf("a call was answered %d: %.300s", r.status, r.body)
	}
	if len(r.body) > l.size || len(r.body) < l.size-l.fewer || r.size != len(c.buf) {
		return false, fmt.Errorf("an answer has %d bytes of body and %d more, not %d: %.300s",
			len(r.body), len(c.buf)-r.size, l.size, r.body)
	}
	c.buf = c.buf[:0]
	return true, nil
}

// dial returns a connected, non-blocking TCP socket.
func dial(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connect to %v: %w", addr, err)
	}
	return fd, nil
}

// percentile returns the value that at least p percent of the sorted values do
// not exceed (nearest rank), and zero for no values.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p/100*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}
