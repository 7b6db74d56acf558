// Package journal is an append-only journal of opaque records. It owns one
// folder of segment files.
//
// It promises that a record is on disk, flushed, before Append returns; that
// records are numbered 1, 2, 3… in the order of the journal without a gap; and
// that damage to a record that was acknowledged is never passed over in silence.
// Concurrent appends share one flush. It knows nothing of what a record means.
// One process writes (the caller sees to that); any number may read meanwhile.
//
// The checksums find accidents. They are no protection against someone who
// rewrites the files on purpose.
//
// # Format
//
// The folder holds segments, named by the number of their first record in 20
// decimal digits and ".journal"; "spare.tmp", the next segment being prepared;
// and "reserve", space kept for a last record on a full disk. Integers are
// little-endian, offsets count bytes, CRC is CRC-32C (Castagnoli, RFC 3720).
// A sector is 512 bytes.
//
// A segment is a header, one or more groups, an end mark and nothing else:
//
//	header (one sector, the rest of it zero)
//	 0  16  "kagimori journal"
//	16   4  version, 1
//	20   4  chain of the segment before at its end; 0 in the first
//	24  16  random id of the journal, the same in all its segments
//	40   8  size the file was allocated with
//	48   8  number of the first record
//	56   8  number of the first record of the segment before; 0 in the first
//	64   8  offset of the end mark of the segment before; 0 in the first
//	72   4  CRC of bytes 0 to 71
//
//	group (whole sectors): the records that were written and flushed together
//	 0   4  "KGRP"
//	 4   4  count of records, at least 1
//	 8   8  number of the first one
//	16   4  length of the records field
//	20   4  CRC of everything from byte 32 to the last four bytes of the group
//	24   4  chain: the last CRC of the group or header before this one
//	28   4  CRC of the journal id and bytes 0 to 27
//	32   n  records: for each a 4 byte length and its bytes
//	        zeros, so that the group ends with a sector
//	-4   4  "DONE"
//
//	end mark (one sector, the rest of it zero)
//	 0   4  "KEND"
//	 4   4  1: the journal ended here, 2: it goes on in the next segment
//	 8   8  number that the next record will have
//	16   8  zero
//	24   4  chain, as in a group
//	28   4  CRC of the journal id and bytes 0 to 27
//
// The chain of a segment begins with the CRC of its header (offset 72) and goes
// on with the CRC of each group (offset 28). A segment that is being written is
// longer than what it holds; zeros follow the last group, always at least one
// sector of them. When it is done it gets its end mark and is cut behind that.
//
// Old segments may be moved elsewhere, the oldest first: the journal then begins
// with the oldest one left. A segment missing between two others, or behind one
// that says it goes on, is damage.
//
// The records of a segment end where the header of the next one says that they
// end, whatever else follows there: after a failed write or flush the writer
// leaves the segment for a new one, and what the failed group left behind does
// not count.
//
// # Why recovery cuts what it cuts
//
// A crash may cost the group that was being written and nothing else, because:
//
//  1. A group is written only after the flush of the one before it succeeded.
//     So whatever precedes a group was acknowledged as durable: its header is
//     the proof that every record below its number is.
//  2. A segment gets its name only after its header and first group were
//     flushed, and a group in it is acknowledged only after the name was.
//  3. A group is written over zeros. A crash leaves each sector of it as zeros or
//     as written, or the group's first bytes and zeros after them, when the
//     process was killed while it wrote. A header or an end mark is one sector
//     and there is all of it or nothing.
//
// Recovery reads the last segment up to the first place that holds no whole
// group. If only zeros follow, that is the end. If what follows can be the rest
// of one group by rule 3 (a sector of it is zeros, or its last bytes are) and
// no group or end mark comes after it, it was never acknowledged and is cut.
// Anything else is damage to acknowledged records: a *CorruptError, and nothing
// is changed. What cannot be told apart is a last acknowledged group of which
// whole sectors were later replaced by zeros; the journal was not closed
// properly then either, else its end mark gives it away.
//
// A process that was killed may leave a whole group that is in the system's
// cache and not on disk, even after a flush was tried and failed. So recovery
// writes the last group again and flushes it before anything is put behind it.
// For the same reason a segment is never written again after a failed flush.
package journal
