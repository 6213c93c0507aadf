package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
)

// entry is an entry of an archive, as an attacker writes it.
type entry struct {
	header  tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func link(kind byte, target string) entry {
	return entry{header: tar.Header{Typeflag: kind, Name: "a", Linkname: target, Mode: 0o777}}
}

// tarOf returns a tar file.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t testing.TB, data ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for _, d := range data {
		if _, err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// patched returns a tar file with other bytes in its first header, whose checksum is right.
func patched(data []byte, change func(header []byte)) []byte {
	data = bytes.Clone(data)
	header := data[:512]
	change(header)
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// oldSparse makes a tar file's first entry a sparse file of GNU tar's old kind: 10 bytes of
// data, and a hole up to a terabyte.
func oldSparse(data []byte) []byte {
	return patched(data, func(h []byte) {
		h[156] = tar.TypeGNUSparse
		copy(h[257:], "ustar  \x00")
		copy(h[386:], "00000000000\x0000000000012\x00") // where the 10 bytes belong
		copy(h[483:], "17777777777\x00")
	})
}

// newSparse returns a tar file with a sparse file of the present kind, a terabyte large.
func newSparse(t testing.TB) []byte {
	e := file("a", "0123456789")
	e.header.PAXRecords = map[string]string{ // tar.Writer refuses the real prefix
		"GNX.sparse.major": "0", "GNX.sparse.minor": "1", "GNX.sparse.numblocks": "1",
		"GNX.sparse.map": "0,10", "GNX.sparse.size": "1099511627776",
	}
	return bytes.ReplaceAll(tarOf(t, e), []byte("GNX."), []byte("GNU."))
}

// endless returns a tar file with more zeros behind it than an archive may have. A
// megabyte of them is compressed once, and repeated: so the checksum is wrong, which a
// reader does not find out before the end.
func endless(t testing.TB, data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil { // ends at the border of a byte
		t.Fatal(err)
	}
	const chunk = 1 << 20
	begin := out.Len()
	for range 2 { // the second does not depend on what is before the first
		begin = out.Len()
		if _, err := z.Write(make([]byte, chunk)); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return append(out.Bytes(), bytes.Repeat(out.Bytes()[begin:], (archive.MaxBytes+32<<20)/chunk)...)
}

// many returns n times the same kind of entry.
func many(n int, one func(i int) entry) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = one(i)
	}
	return out
}

// TestAttacks extracts archives that were made to do harm. Each must be refused with a
// reason, must leave nothing outside of its directory, and must not replace what is there.
func TestAttacks(t *testing.T) {
	good := file("Capsule.toml", "[package]\n")
	plain := tarOf(t, good)
	whole := gzipped(t, plain)
	ofTar := func(entries ...entry) []byte { return gzipped(t, tarOf(t, entries...)) }
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	if f, err := z.Create("../evil"); err != nil {
		t.Fatal(err)
	} else if _, err := io.WriteString(f, "evil"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-8] ^= 1 // in the checksum
	shortened := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(shortened[len(shortened)-4:], 1) // the size

	for name, attack := range map[string]struct {
		archive []byte
		want    string
	}{
		"parent":                      {ofTar(file("../evil", "x")), "`..`"},
		"grandparent":                 {ofTar(file("../../../../../../tmp/evil", "x")), "`..`"},
		"parent in the middle":        {ofTar(file("a/../../evil", "x")), "`..`"},
		"parent that stays inside":    {ofTar(file("a/../b", "x")), "`..`"},
		"parent at the end":           {ofTar(entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "a/..", Mode: 0o755}}), "`..`"},
		"parent of a directory":       {ofTar(entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "../evil/", Mode: 0o755}}), "`..`"},
		"absolute":                    {ofTar(file("/tmp/evil", "x")), "is absolute"},
		"absolute directory":          {ofTar(entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "/evil/", Mode: 0o755}}), "is absolute"},
		"absolute, with two slashes":  {ofTar(file("//evil", "x")), "is absolute"},
		"backslashes":                 {ofTar(file(`..\..\evil`, "x")), "backslash"},
		"a drive":                     {ofTar(file(`C:evil`, "x")), "colon"},
		"a stream of Windows":         {ofTar(file(`Capsule.toml:evil`, "x")), "colon"},
		"a control character":         {ofTar(file("a\x1b[2Jb", "x")), "control character"},
		"a line feed":                 {ofTar(file("a\nb", "x")), "control character"},
		"text from right to left":     {ofTar(file("a\u202eb", "x")), "control character"},
		"not UTF-8":                   {gzipped(t, patched(plain, func(h []byte) { copy(h, "Caps\xff\xfe.tomlx") })), "not UTF-8"},
		"no name":                     {gzipped(t, patched(plain, func(h []byte) { clear(h[:100]) })), "no name"},
		"only a dot":                  {ofTar(file(".", "x")), "is a file and a directory"},
		"a file named as a directory": {gzipped(t, patched(plain, func(h []byte) { copy(h, "Capsule.toml/"); h[156] = '0' })), "name of a directory"},
		"a symbolic link":             {ofTar(link(tar.TypeSymlink, "/etc/passwd")), "a symbolic link"},
		"a symbolic link inside":      {ofTar(link(tar.TypeSymlink, "Capsule.toml")), "a symbolic link"},
		"writing through a link":      {ofTar(link(tar.TypeSymlink, ".."), file("a/evil", "x")), "a symbolic link"},
		"a hard link":                 {ofTar(link(tar.TypeLink, "/etc/passwd")), "a hard link"},
		"a hard link out":             {ofTar(good, link(tar.TypeLink, "../secret")), "a hard link"},
		"a character device":          {ofTar(entry{header: tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1, Devminor: 5}}), "a device"},
		"a block device":              {ofTar(entry{header: tar.Header{Typeflag: tar.TypeBlock, Name: "a", Devmajor: 8}}), "a device"},
		"a pipe":                      {ofTar(entry{header: tar.Header{Typeflag: tar.TypeFifo, Name: "a"}}), "a pipe"},
		"a contiguous file":           {gzipped(t, patched(plain, func(h []byte) { h[156] = tar.TypeCont })), `of type '7'`},
		"a type of another vendor":    {gzipped(t, patched(plain, func(h []byte) { h[156] = 'V' })), `of type 'V'`},
		"an old sparse file":          {gzipped(t, oldSparse(plain)), "a sparse file"},
		"a sparse file":               {gzipped(t, newSparse(t)), "a sparse file"},
		"twice":                       {ofTar(good, good), "is there twice"},
		"twice, in another spelling":  {ofTar(good, file("./Capsule.toml", "x")), "is there twice"},
		"twice, in capital letters":   {ofTar(good, file("CAPSULE.TOML", "x")), "is there twice"},
		"a file, then a directory":    {ofTar(good, file("Capsule.toml/a", "x")), "is a file and a directory"},
		"a directory, then a file":    {ofTar(file("a/b", "x"), file("a", "x")), "is a file and a directory"},
		"a long path":                 {ofTar(file(strings.Repeat("a/", 20)+strings.Repeat("b", 1000), "x")), "at most 1024"},
		"a long name":                 {ofTar(file(strings.Repeat("b", 300), "x")), "file name too long"},
		"a deep path":                 {ofTar(file(strings.Repeat("a/", 33)+"b", "x")), "32 directories deep"},
		"many files":                  {ofTar(many(archive.MaxFiles+1, func(i int) entry { return file(fmt.Sprint("f", i), "") })...), "1024 files"},
		"many directories in a few":   {ofTar(many(50, func(i int) entry { return file(fmt.Sprint("d", i, "/", strings.Repeat("a/", 30), "f"), "") })...), "1024 files"},
		"many settings": {ofTar(many(archive.MaxFiles+1, func(int) entry {
			return entry{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "x"}}}
		})...), "1024 files"},
		"one byte too many":            {gzipped(t, patched(plain, func(h []byte) { copy(h[124:136], "02000000001\x00") })), "268435456 bytes"},
		"too many bytes together":      {gzipped(t, tarOf(t, good)[:1024], patched(tarOf(t, file("b", "x")), func(h []byte) { copy(h[124:136], "02000000000\x00") })), "268435456 bytes"},
		"a size that is a lie":         {gzipped(t, patched(plain, func(h []byte) { copy(h[124:136], "77777777777\x00") })), "268435456 bytes"},
		"a size over the end":          {gzipped(t, patched(plain, func(h []byte) { copy(h[124:136], "00000077777\x00") })), "unexpected EOF"},
		"a negative size":              {gzipped(t, patched(plain, func(h []byte) { copy(h[124:136], "-0000000001\x00") })), "invalid tar header"},
		"a wrong checksum of a header": {gzipped(t, append([]byte("x"), plain[1:]...)), "invalid tar header"},
		"not even gzip":                {plain, "no gzip file"},
		"nothing":                      {nil, "no gzip file"},
		"a zip file":                   {zipped.Bytes(), "no gzip file"},
		"a wrong checksum":             {flipped, "invalid checksum"},
		"a wrong length":               {shortened, "invalid checksum"},
		"cut off":                      {whole[:len(whole)-10], "unexpected EOF"},
		"cut off in the header":        {whole[:5], "no gzip file"},
		"a second archive after it":    {append(bytes.Clone(whole), ofTar(file("evil", "x"))...), "after its end"},
		"garbage after it":             {append(bytes.Clone(whole), 'x'), "after its end"},
		"a second tar file inside":     {gzipped(t, plain, tarOf(t, file("evil", "x"))), "after its end"},
		"padding without end":          {endless(t, plain), "268435456 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			dir := filepath.Join(above, "a", "b")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			err := archive.Extract(bytes.NewReader(attack.archive), dir)
			if err == nil || !strings.HasPrefix(err.Error(), "read the archive: ") || !strings.Contains(err.Error(), attack.want) {
				t.Errorf("got %v, want %s", err, attack.want)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("the reason has %d bytes", len(err.Error()))
			}
			onlyPlain(t, above, dir)
		})
	}
}

// onlyPlain checks that above has nothing but dir, and dir only plain files.
func onlyPlain(t *testing.T, above, dir string) {
	t.Helper()
	var size int64
	err := filepath.WalkDir(above, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() && (!strings.HasPrefix(path, dir+"/") || !info.Mode().IsRegular() || info.Mode().Perm()&0o133 != 0) {
			t.Errorf("it left %s, %v", path, info.Mode())
		}
		if d.IsDir() && path != above && path != filepath.Dir(dir) && path != dir && !strings.HasPrefix(path, dir+"/") {
			t.Errorf("it left the directory %s", path)
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if size > archive.MaxBytes {
		t.Errorf("it wrote %d bytes", size)
	}
}
