package layout

import "testing"

func TestVersions(t *testing.T) {
	p := make([]byte, 4096)
	s := Superblock{BlockSize: 4096, SectorSize: 512, Copies: 1, Sequence: 3<<40 + 7}
	EncodeSuperblock(p, &s)
	if got := SuperblockVersion(p); got != s.Sequence {
		t.Errorf("superblock: %d", got)
	}
	h := LogHead{Sequence: 5<<40 + 1, Epoch: 2, Tail: 3, TailSeq: 4}
	EncodeLogHead(p, &h, 0, Seeds{})
	if got := LogHeadVersion(p); got != h.Sequence {
		t.Errorf("log header: %d", got)
	}
	in := Inode{Mode: ModeFile, Seq: 6<<40 + 2, Generation: 1}
	EncodeInode(p, &in, 9, Seeds{})
	if got := InodeSeq(p); got != in.Seq {
		t.Errorf("inode: %d", got)
	}
	InitBlock(p, KindDirLeaf, 1, 2)
	SealBlock(p, 30, 7<<40+3, Seeds{})
	if got := BlockVersion(p); got != 7<<40+3 {
		t.Errorf("block: %d", got)
	}
}
