// Package durable makes files appear whole or not at all, and stay: when a
// function here has returned nil, its work survives a power cut.
//
// It promises this by the usual means: a file is written under another name (its
// own with .new) and flushed (fsync), gets its name (rename or link), and the
// folder is flushed. One process at a time writes a file.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Replace puts data in the place of the file at path, if there is one. After a
// crash the file is the old one or the new one.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Rename)
}

// Create makes a new file. If there is one at path it stays and the error is
// fs.ErrExist.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, link)
}

// link gives a file another name, if that is free, unlike Rename.
func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links.
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

func write(path string, data []byte, mode fs.FileMode, name func(from, to string) error) error {
	temporary := path + ".new"
	// One that a crash left behind may have another mode.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := name(temporary, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// Rename gives a file or folder, whose content is durable already, its name.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// SyncFolder makes the names in a folder durable.
func SyncFolder(path string) error {
	if runtime.GOOS == "windows" { // which cannot, and need not
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
