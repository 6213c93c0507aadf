package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// verify reads a file of bbolt's and returns the first damage that it finds: a page that
// is missing, torn, used twice or of the wrong kind, keys out of order, or a value with a
// wrong checksum. bbolt has a check of its own, which panics on what it should report,
// in a goroutine where nothing can recover it, or reads beyond the end of its mapping.
func verify(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	v := &verifier{file: f}
	if err := v.readMeta(info.Size()); err != nil {
		return err
	}
	if have := uint64(info.Size()); have/v.pageSize < v.meta.pages { //nolint:gosec // not negative
		return fmt.Errorf("it has %d bytes, and must have at least %d: its end is missing", have, v.meta.pages*v.pageSize)
	}
	v.used = make([]bool, v.meta.pages)
	v.used[0], v.used[1] = true, true
	if err := v.tree(v.meta.root, nil, nil, 0, false); err != nil {
		return err
	}
	if !v.found {
		return fmt.Errorf("it has no bucket %q: another program has written it", bucketName)
	}
	return v.freelist()
}

// The format of bbolt's pages, version 2, in the byte order of the machine.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	metaSize      = 64
	leafElement   = 16 // flags, position, key size, value size uint32
	branchElement = 16 // position, key size uint32, page uint64
	bucketHeader  = 16 // root page, sequence uint64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	leafIsBucket = 0x01

	noFreelist = 1<<64 - 1
	maxDepth   = 64
)

// order is what bbolt uses: it maps its structs into memory.
var order = binary.NativeEndian //nolint:gochecknoglobals // never changed

type verifier struct {
	file     *os.File
	pageSize uint64
	meta     struct{ root, freelist, pages, txid uint64 }
	used     []bool // by page
	found    bool   // the bucket of a store
}

// readMeta reads the newer of the two meta pages. One of them may be torn: bbolt writes
// them in turn, so that the other is whole.
func (v *verifier) readMeta(size int64) error {
	// The second one is a page size away, which only the first one tells.
	for _, pageSize := range []uint64{0, 4 << 10, 16 << 10, 64 << 10, 1 << 10, 2 << 10, 8 << 10, 32 << 10} {
		if pageSize > 0 && v.pageSize > 0 && pageSize != v.pageSize {
			continue
		}
		var text [pageHeader + metaSize]byte
		if _, err := v.file.ReadAt(text[:], int64(pageSize)); err != nil { //nolint:gosec // small
			if errors.Is(err, io.EOF) {
				continue
			}
			return err
		}
		m := text[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8]) // it cannot fail
		if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || order.Uint64(m[metaSize-8:]) != sum.Sum64() {
			continue
		}
		v.pageSize = uint64(order.Uint32(m[8:]))
		if txid := order.Uint64(m[48:]); v.meta.pages == 0 || txid > v.meta.txid {
			v.meta.root, v.meta.freelist, v.meta.pages, v.meta.txid = order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:]), txid
		}
	}
	if v.meta.pages < 2 || v.pageSize < 512 {
		return fmt.Errorf("it has %d bytes, and none of its two meta pages is whole", size)
	}
	return nil
}

// page reads a page with those that it overflows to.
func (v *verifier) page(id uint64, flags ...uint16) (page []byte, isBranch bool, err error) {
	if id < 2 || id >= v.meta.pages {
		return nil, false, fmt.Errorf("page %d is referred to, but there are %d", id, v.meta.pages)
	}
	var header [pageHeader]byte
	if _, err := v.file.ReadAt(header[:], int64(id*v.pageSize)); err != nil { //nolint:gosec // below the file's size
		return nil, false, fmt.Errorf("page %d: %w", id, err)
	}
	kind, n := order.Uint16(header[8:]), 1+uint64(order.Uint32(header[12:]))
	ok := false
	for _, f := range flags {
		ok = ok || kind == f
	}
	if !ok || order.Uint64(header[:]) != id || n > v.meta.pages-id {
		return nil, false, fmt.Errorf("page %d is not what should be there", id)
	}
	for p := id; p < id+n; p++ {
		if v.used[p] {
			return nil, false, fmt.Errorf("page %d is used twice", p)
		}
		v.used[p] = true
	}
	page = make([]byte, n*v.pageSize)
	if _, err := v.file.ReadAt(page, int64(id*v.pageSize)); err != nil { //nolint:gosec // below the file's size
		return nil, false, fmt.Errorf("page %d: %w", id, err)
	}
	return page, kind == flagBranch, nil
}

// tree reads the pages below and with a root. Their keys must be at least least, unless
// it is nil, and below below. If ours, they are a store's.
func (v *verifier) tree(root uint64, least, below []byte, depth int, ours bool) error {
	page, isBranch, err := v.page(root, flagBranch, flagLeaf)
	switch {
	case err != nil:
		return err
	case depth > maxDepth:
		return fmt.Errorf("page %d is too deep", root)
	case !isBranch:
		if err := v.leaf(page, least, below, depth, ours); err != nil {
			return fmt.Errorf("page %d: %w", root, err)
		}
		return nil
	}
	n := int(order.Uint16(page[10:]))
	if n == 0 {
		return fmt.Errorf("page %d is empty", root)
	}
	keys, children := make([][]byte, n), make([]uint64, n)
	for i := range n {
		at := pageHeader + i*branchElement
		if at+branchElement > len(page) {
			return fmt.Errorf("page %d: element %d lies outside", root, i)
		}
		e := page[at:]
		if keys[i], err = part(e, order.Uint32(e), order.Uint32(e[4:])); err != nil {
			return fmt.Errorf("page %d: element %d: %w", root, i, err)
		}
		children[i] = order.Uint64(e[8:])
	}
	if err := sorted(keys, least, below); err != nil {
		return fmt.Errorf("page %d: %w", root, err)
	}
	for i := range n {
		end := below
		if i+1 < n {
			end = keys[i+1]
		}
		if err := v.tree(children[i], keys[i], end, depth+1, ours); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks the elements of a leaf page.
func (v *verifier) leaf(page, least, below []byte, depth int, ours bool) error {
	n := int(order.Uint16(page[10:]))
	keys := make([][]byte, n)
	for i := range n {
		at := pageHeader + i*leafElement
		if at+leafElement > len(page) {
			return fmt.Errorf("element %d lies outside", i)
		}
		e := page[at:]
		position, keySize, valueSize := order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		var value []byte
		key, err := part(e, position, keySize)
		if err == nil {
			value, err = part(e[position+keySize:], 0, valueSize)
		}
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		keys[i] = key
		switch isBucket := order.Uint32(e)&leafIsBucket != 0; {
		case isBucket && !ours:
			err = v.bucket(key, value, depth)
		case isBucket == ours:
			err = fmt.Errorf("element %d is of the wrong kind", i)
		default:
			_, _, err = unseal(key, value)
		}
		if err != nil {
			return err
		}
	}
	return sorted(keys, least, below)
}

// bucket checks a bucket; its pages may be in its value.
func (v *verifier) bucket(name, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("bucket %.100q is too short", name)
	}
	v.found = v.found || bytes.Equal(name, bucketName)
	if root := order.Uint64(value); root != 0 {
		return v.tree(root, nil, nil, depth+1, true)
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || order.Uint16(page[8:]) != flagLeaf {
		return fmt.Errorf("bucket %.100q has no page", name)
	}
	return v.leaf(page, nil, nil, depth+1, true)
}

// freelist checks that no free page is used, and that no page is neither: bbolt would
// write over the one, and hides a damage with the other.
func (v *verifier) freelist() error {
	if v.meta.freelist == noFreelist {
		return nil
	}
	page, _, err := v.page(v.meta.freelist, flagFreelist)
	if err != nil {
		return fmt.Errorf("the list of free pages: %w", err)
	}
	n, at := uint64(order.Uint16(page[10:])), uint64(pageHeader)
	if n == 0xFFFF { // the number did not fit
		n, at = order.Uint64(page[at:]), at+8
	}
	if n > (uint64(len(page))-at)/8 {
		return errors.New("the list of free pages is longer than its pages")
	}
	for i := range n {
		id := order.Uint64(page[at+8*i:])
		if id < 2 || id >= v.meta.pages || v.used[id] {
			return fmt.Errorf("page %d is listed as free, but it is used or does not exist", id)
		}
		v.used[id] = true
	}
	return nil
}

// part returns size bytes of an element, or an error if they lie outside of its page.
func part(e []byte, position, size uint32) ([]byte, error) {
	if end := uint64(position) + uint64(size); end > uint64(len(e)) {
		return nil, errors.New("it lies outside of its page")
	}
	return e[position : position+size], nil
}

// sorted checks that keys ascend from least to below it.
func sorted(keys [][]byte, least, below []byte) error {
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 || i == 0 && bytes.Compare(k, least) < 0 || below != nil && bytes.Compare(k, below) >= 0 {
			return fmt.Errorf("key %.100q is not in order", k)
		}
	}
	return nil
}
