package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	msqlite "modernc.org/sqlite"

	"github.com/kagimori/kagimori/internal/store"
)

// conn is one connection with its prepared statements, used by one goroutine
// at a time. It speaks to the driver directly: database/sql would add a pool,
// but which connection does what is decided here.
type conn struct {
	c     driver.Conn
	path  string
	stmts map[string]driver.Stmt // by their text
}

// row is one row of a result: int64, string, []byte or nil. The accessors
// give the zero value for another type, so that a database that was changed
// from outside leads to a record that does not open, not to a panic.
type row []driver.Value

func (r row) number(i int) uint64 { v, _ := r[i].(int64); return uint64(v) }
func (r row) text(i int) string   { v, _ := r[i].(string); return v }
func (r row) blob(i int) []byte   { v, _ := r[i].([]byte); return v }

// place reads account, region and id from columns i, i+1 and i+2.
func (r row) place(kind string, i int) store.Place {
	return store.Place{Kind: kind, Account: r.text(i), Region: r.text(i + 1), ID: r.text(i + 2)}
}

// connect opens a file. Params are SQLite's URI parameters
// (https://www.sqlite.org/uri.html), setup is what to run first.
func connect(path, params, setup string) (*conn, error) {
	d, err := new(msqlite.Driver).Open(dsn(path, params))
	if err != nil {
		return nil, explain(path, err)
	}
	c := &conn{d, path, make(map[string]driver.Stmt)}
	if err := c.script(setup); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// dsn escapes a path for SQLite.
func dsn(path, params string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: params}
	return u.String()
}

// query runs one statement and returns all its rows; statements that could
// return many have a LIMIT.
func (c *conn) query(sql string, args ...driver.Value) (all []row, err error) {
	stmt, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(context.Background(), named(args))
	if err != nil {
		return nil, explain(c.path, err)
	}
	for {
		r := make(row, len(rows.Columns()))
		if err = rows.Next(r); err != nil {
			break
		}
		all = append(all, r)
	}
	if err == io.EOF {
		err = nil
	}
	return all, explain(c.path, errors.Join(err, rows.Close()))
}

// exec runs one statement for its effect.
func (c *conn) exec(sql string, args ...driver.Value) error {
	stmt, err := c.prepare(sql)
	if err != nil {
		return err
	}
	_, err = stmt.(driver.StmtExecContext).ExecContext(context.Background(), named(args))
	return explain(c.path, err)
}

func (c *conn) prepare(sql string) (driver.Stmt, error) {
	if stmt, ok := c.stmts[sql]; ok {
		return stmt, nil
	}
	stmt, err := c.c.Prepare(sql)
	if err != nil {
		return nil, explain(c.path, err)
	}
	c.stmts[sql] = stmt
	return stmt, nil
}

func named(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named
}

// number runs one statement that returns a number; no row counts as 0.
func (c *conn) number(sql string, args ...driver.Value) (uint64, error) {
	rows, err := c.query(sql, args...)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].number(0), nil
}

// script runs several statements.
func (c *conn) script(sql string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return explain(c.path, err)
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		s.Close()
	}
	return explain(c.path, c.c.Close())
}

// Primary result codes of SQLite, https://www.sqlite.org/rescode.html.
const (
	codeBusy     = 5
	codeReadOnly = 8
	codeIOErr    = 10
	codeCorrupt  = 11
	codeFull     = 13
)

// reasons are for the results that an operator can do something about.
var reasons = map[int]string{
	codeBusy:     "another process keeps the database locked",
	codeReadOnly: "the database cannot be written, check permissions and mount options",
	codeIOErr:    "the disk fails",
	codeCorrupt:  "the database is damaged, restore a backup",
	codeFull:     "the disk is full, make space",
}

// explain adds the file and the reason to an error of SQLite.
func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	if reason, ok := reasons[code(err)]; ok {
		return fmt.Errorf("store: %s: %s: %w", path, reason, err)
	}
	return fmt.Errorf("store: %s: %w", path, err)
}

// code is the primary result code in err, 0 if there is none.
func code(err error) int {
	if e, ok := errors.AsType[*msqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
