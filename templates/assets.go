package templates

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Assets returns the files that the built-in pages refer to below Root + "/assets/".
// Each name holds a hash of the content, so a file may be cached for ever.
func Assets() fs.FS { return hashedFiles }

// Assets returns the files that the pages of the set refer to, as [Assets].
func (s *Set) Assets() fs.FS { return s.assets }

//go:embed assets
var assetFiles embed.FS

var hashedFiles = hashAssets()

func hashAssets() assetFS {
	files := assetFS{}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	for _, entry := range entries {
		content, err := assetFiles.ReadFile(path.Join("assets", entry.Name()))
		if err != nil {
			panic(err)
		}
		stem, ext, _ := strings.Cut(entry.Name(), ".")
		files = append(files, hashed(stem, ext, content))
	}
	slices.SortFunc(files, func(a, b asset) int { return strings.Compare(a.name, b.name) })
	return files
}

// named is the hashed name of a file.
func (f assetFS) named(source string) (string, error) {
	for _, a := range f {
		if a.source == source {
			return a.name, nil
		}
	}
	return "", fmt.Errorf("templates: no asset %s", source)
}

// assetFS is one flat folder, sorted by name. Its files can seek, as HTTP file
// servers need.
type assetFS []asset

// Open implements fs.FS.
func (f assetFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &openFolder{rest: f}, nil
	}
	for _, a := range f {
		if a.name == name {
			return &openAsset{Reader: bytes.NewReader(a.content), asset: a}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// asset is its own fs.FileInfo.
type asset struct {
	source, name string
	content      []byte
}

func (a asset) Name() string       { return a.name }
func (a asset) Size() int64        { return int64(len(a.content)) }
func (a asset) Mode() fs.FileMode  { return 0o444 }
func (a asset) ModTime() time.Time { return time.Time{} } // the name says which version it is
func (a asset) IsDir() bool        { return false }
func (a asset) Sys() any           { return nil }

type openAsset struct {
	*bytes.Reader
	asset asset
}

func (o *openAsset) Stat() (fs.FileInfo, error) { return o.asset, nil }
func (o *openAsset) Close() error               { return nil }

type openFolder struct{ rest assetFS }

func (o *openFolder) Stat() (fs.FileInfo, error) { return folderInfo{}, nil }
func (o *openFolder) Close() error               { return nil }

func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(o.rest) {
		if n > 0 && len(o.rest) == 0 {
			return nil, io.EOF
		}
		n = len(o.rest)
	}
	entries := make([]fs.DirEntry, n)
	for i, a := range o.rest[:n] {
		entries[i] = fs.FileInfoToDirEntry(a)
	}
	o.rest = o.rest[n:]
	return entries, nil
}

type folderInfo struct{ asset }

func (folderInfo) Name() string      { return "." }
func (folderInfo) Mode() fs.FileMode { return fs.ModeDir | 0o555 }
func (folderInfo) IsDir() bool       { return true }
