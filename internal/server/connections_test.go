package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/datadir"
)

// TestIdleConnections keeps very many connections open while calls go on.
func TestIdleConnections(t *testing.T) {
	most := openFiles() - 200 // what the test itself needs
	n := min(10_000, most)
	if n < 5_000 {
		t.Skipf("only %d files may be open at once; raise it with ulimit -n", openFiles())
	}
	h := start(t)
	h.serves()
	before := memory()
	// Their other ends are in a process of their own, which has its own limit.
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "KAGIMORI_TEST_IDLE="+h.addr, fmt.Sprint("KAGIMORI_TEST_COUNT=", n))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	h.must(err)
	out, err := child.StdoutPipe()
	h.must(err)
	h.must(child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the clients say %q, %v", line, err)
	}
	each := (memory() - before) / int64(n)
	t.Logf("%d idle connections take %d bytes each", n, each)
	if each > 64<<10 {
		t.Error("that is too much")
	}
	for range 20 {
		h.serves()
	}
	in.Close()
	h.must(child.Wait())
	h.eventually("the connections to end", func() bool { return runtime.NumGoroutine() < 100 })
	h.serves()
}

// holdIdle is the child of TestIdleConnections. Each connection makes one
// request and then rests.
func holdIdle(addr string) {
	var n int
	fmt.Sscan(os.Getenv("KAGIMORI_TEST_COUNT"), &n)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	failed := false
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				c, err := net.Dial("tcp", addr)
				if err == nil {
					io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
					_, err = readAnswer(bufio.NewReader(c))
				}
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					failed = true
				}
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed {
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) // until the parent closes it
	runtime.KeepAlive(conns)
}

// memory is what the heap and the stacks take when all that can be is collected.
func memory() int64 {
	for range 3 { // pools keep what they have over the first
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestMaxConnections has one client more than may connect: it waits its turn.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	const most = 3
	h := start(t, func(s *setup) { s.MaxConnections, s.admin = most, true })
	r := op("GenerateRandom", `{"NumberOfBytes":5}`)
	r.keepAlive = true
	raw := h.wire(r)
	var open []net.Conn
	for range most {
		c := h.dial()
		c.Write(raw)
		_, err := readAnswer(bufio.NewReader(c))
		h.must(err)
		open = append(open, c)
	}
	c := h.dial()
	c.Write(raw)
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := io.ReadAll(c); !errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 {
		t.Errorf("one connection over the bound got %q, %v", b, err)
	}
	if status, _ := h.get("/readyz"); status != http.StatusOK { // on a listener of its own
		t.Errorf("/readyz is %d", status)
	}
	open[0].Close()
	c.SetReadDeadline(time.Now().Add(patience))
	a, err := readAnswer(bufio.NewReader(c))
	if err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("when one connection has closed: %v, %v", a, err)
	}
}

// TestLargeBodiesTogether has more clients send large bodies at the same time
// than there is room for, all of them holding back the last byte.
func TestLargeBodiesTogether(t *testing.T) {
	h := start(t)
	const clients = 2 * largeBodies / maxBody
	large := op("ListKeys", `{"Future":"`+strings.Repeat("x", 400<<10)+`"}`)
	raw := h.wire(large)
	before := memory()
	var stalled []net.Conn
	for range clients {
		c := h.dial()
		c.Write(raw[:len(raw)-1]) // fails where the server hangs up
		stalled = append(stalled, c)
	}
	h.eventually("the room to be taken", func() bool {
		room := h.srv.pipeline.bodies.TryAcquire(400 << 10)
		if room {
			h.srv.pipeline.bodies.Release(400 << 10)
		}
		return !room
	})
	a := h.do(large)
	a.wantError(t, 503, "ServiceUnavailable", "Too many large requests are being read at the same time. Try again.")
	if recs := h.recordsOf(a.id); len(recs) != 1 || recs[0].ErrorCode != "ServiceUnavailable" {
		t.Errorf("records %v", recs)
	}
	h.serves() // small ones are not held up
	took := memory() - before
	t.Logf("%d bodies of %d KiB take %d MiB", clients, len(raw)>>10, took>>20)
	// A buffer that grows is there twice for a moment.
	if took > 2*largeBodies {
		t.Error("that is too much")
	}

	served := 0
	for i, c := range stalled {
		if i%2 == 0 {
			c.Close()
			continue
		}
		c.Write(raw[len(raw)-1:])
		a, err := readAnswer(bufio.NewReader(c))
		switch {
		case err != nil: // hung up on before it had sent all
		case a.StatusCode == http.StatusOK:
			served++
		default:
			a.wantError(t, 503, "ServiceUnavailable", "Too many large requests")
		}
	}
	if served < clients/8 {
		t.Errorf("%d bodies that were held up are served", served)
	}
	h.eventually("all the room to come back", func() bool {
		ok := h.srv.pipeline.bodies.TryAcquire(largeBodies)
		if ok {
			h.srv.pipeline.bodies.Release(largeBodies)
		}
		return ok
	})
	if a := h.do(large); a.StatusCode != http.StatusOK {
		t.Errorf("with room again: %d %s", a.StatusCode, a.body)
	}
}

// TestDrain stops the server while a call is in flight: the call is answered,
// the server is unready meanwhile and takes no more connections.
func TestDrain(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.admin = true })
	idle := h.dial()
	r := op("GenerateRandom", `{"NumberOfBytes":5}`)
	r.keepAlive = true
	idle.Write(h.wire(r))
	idleReader := bufio.NewReader(idle)
	_, err := readAnswer(idleReader)
	h.must(err)
	g := h.gate.shut()
	c := h.dial()
	c.Write(h.wire(op("GenerateRandom", `{"NumberOfBytes":5}`)))
	<-g.reached
	h.stop()
	h.eventually("/readyz to say that the server stops", func() bool {
		status, body := h.get("/readyz")
		return status == http.StatusServiceUnavailable && body == "not ready: the server is stopping\n"
	})
	if status, _ := h.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d while draining", status)
	}
	h.eventually("the listener to close", func() bool {
		c, err := net.Dial("tcp", h.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-h.served:
		t.Fatalf("Serve returned %v before the call in flight was answered", err)
	default:
	}
	g.open()
	a, err := readAnswer(bufio.NewReader(c))
	h.must(err)
	if a.StatusCode != http.StatusOK || len(h.recordsOf(a.id)) != 1 {
		t.Errorf("the call in flight: %d %s", a.StatusCode, a.body)
	}
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v", err)
	}
	err = <-h.served
	h.must(err)
	h.served <- nil // for close
}

// TestDrainTimeout stops the server while a call in flight does not end.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.admin, s.DrainTimeout = true, 50*time.Millisecond })
	g := h.gate.shut()
	c := h.dial()
	c.Write(h.wire(op("GenerateRandom", `{"NumberOfBytes":5}`)))
	admin, err := net.Dial("tcp", h.adminAddr)
	h.must(err)
	defer admin.Close()
	io.WriteString(admin, "GET /healthz HTTP/1.1\r\nHost: x\r\n") // never ends
	<-g.reached
	h.stop()
	if err := <-h.served; err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "calls were still in flight after 50ms") {
		t.Errorf("Serve: %v", err)
	}
	for name, c := range map[string]net.Conn{"API": c, "admin": admin} {
		c.SetReadDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 {
			t.Errorf("the %s connection: %q, %v, want it closed", name, b, err)
		}
	}
	g.open()
	h.served <- nil
	h.close()
	// Nobody was answered, and still it is on record.
	recs, err := readRecords(datadir.JournalDir(h.dir))
	h.must(err)
	n := 0
	for _, rec := range recs {
		if rec.EventName == "GenerateRandom" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d records of the call", n)
	}
}
