package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/kagimori/kagimori/internal/store"
)

// maxGroup is how many Updates share a commit at most, so that the first does
// not wait forever for the last.
const maxGroup = 256

// job is one Update on its way. The writer sends it its session when it is its
// turn, or closes turn if that never comes. The Update then runs its function
// in its own goroutine, so that a panic is its own, and sends how that went.
// The writer answers when the group is committed.
type job struct {
	turn   chan *session
	ran    chan error
	answer chan error // buffered: whoever panicked does not wait for it
	err    error      // the writer's: what came from ran
}

// errGone stands for a function that panicked or ended its goroutine.
var errGone = errors.New("store: update did not return")

// update runs fn in a write transaction.
func (db *DB) update(ctx context.Context, fn func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{turn: make(chan *session), ran: make(chan error), answer: make(chan error, 1)}
	select {
	case <-db.closing:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case db.queue <- j:
	}
	if s, ok := <-j.turn; ok {
		j.run(s, fn)
	}
	return <-j.answer
}

func (j *job) run(s *session, fn func(*session) error) {
	err := errGone
	defer func() {
		s.over = true
		j.ran <- err
	}()
	err = fn(s)
}

// run is the writer goroutine.
func (db *DB) run() {
	defer close(db.stopped)
	for {
		select {
		case <-db.closing:
			return
		case j := <-db.queue:
			db.group(j)
		}
	}
}

// group runs first and the Updates that come while it is at it, commits them
// together, tells the listeners and then the callers.
func (db *DB) group(first *job) {
	var g session
	var jobs []*job
	db.begin(&g)
	for j := first; j != nil; {
		jobs = append(jobs, j)
		g.take(j)
		j = nil
		if g.failed == nil && len(jobs) < maxGroup {
			select {
			case j = <-db.queue:
			default:
			}
		}
	}
	if len(g.changes) > 0 {
		g.write("DELETE FROM change WHERE seq <= ?", int64(g.seq)-int64(db.keep))
	}
	g.exec("COMMIT")

	db.mu.Lock()
	if g.failed != nil || g.wrote { // reading proves nothing
		db.failure = g.failed
	}
	listeners := db.listeners
	db.mu.Unlock()
	if g.failed != nil {
		// A connection that has failed is not trusted again. Closing it rolls
		// back whatever it may still hold.
		if db.writer != nil {
			db.writer.close()
			db.writer = nil
		}
	} else if len(g.changes) > 0 {
		for _, fn := range listeners {
			fn(g.changes)
		}
	}
	for _, j := range jobs {
		if g.failed != nil {
			j.err = g.failed // what fn saw never came to be
		}
		j.answer <- j.err
	}
}

// lockTries is how often the writer asks for the write lock, waiting 1 ms each
// time. SQLite's own busy handler soon asks only every 100 ms, and so could
// wait forever beside a process that commits one group after the other.
const lockTries = 10_000

// begin starts the transaction of a group, on a new connection if need be.
// As everywhere in a group, what goes wrong is in g.failed and stops the rest.
func (db *DB) begin(g *session) {
	if db.writer == nil {
		if db.writer, g.failed = openWriter(db.path); g.failed != nil {
			return
		}
	}
	g.c = db.writer
	for range lockTries {
		g.failed = nil
		if g.exec("BEGIN IMMEDIATE"); code(g.failed) != codeBusy {
			break
		}
	}
	g.readSeq()
}

// take runs j in a savepoint of g.
func (g *session) take(j *job) {
	if err := g.exec("SAVEPOINT job"); err != nil {
		close(j.turn)
		return
	}
	s := &session{c: g.c, seq: g.seq, hasSeq: true}
	j.turn <- s
	j.err = <-j.ran
	g.failed = s.failed
	if j.err != nil {
		g.exec("ROLLBACK TO job")
	} else {
		g.seq, g.changes, g.wrote = s.seq, append(g.changes, s.changes...), g.wrote || s.wrote
	}
	g.exec("RELEASE job")
}

// health implements store.Store. To see whether a failure has passed, it
// writes the schema version that is there already.
func (db *DB) health() error {
	db.mu.Lock()
	failure := db.failure
	db.mu.Unlock()
	if failure == nil {
		return nil
	}
	return db.update(context.Background(), func(s *session) error {
		return s.write(fmt.Sprintf("PRAGMA user_version = %d", len(migrations)))
	})
}
