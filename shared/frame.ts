// The frame: a batch of packets on the bus, and the only thing that tier 1 and the DSSL actors share about a packet.
//
// One message per packet would spend more on the message than on the packet, so packets of one group travel together.
// Tier 1 parses and hashes a packet once and ships the result beside the bytes; an actor decides from the meta column
// alone and never parses. A frame is one MessagePack array of positional fields ending in two binary columns, so that
// any MessagePack reader can open it:
//
//   [ format, tier1Id, sequence, viewNumber, mapVersion, timestampMs, startOrdinal, count, meta, payload ]
//
//   meta     count rows of 16 bytes, little-endian
//            0               4               8       10      12              16
//            +---------------+---------------+-------+-------+---------------+
//            |    hashHi     |    hashLo     | length| flags |  (reserved 0) |   length u16, flags u16
//            +---------------+---------------+-------+-------+---------------+
//   payload  the packets' bytes, end to end, in row order
//
// The rows are 12 bytes: the reserved word is not sent. `sequence` counts frames per (tier 1, group) from 1, so a hole
// means that the bus lost frames on the way to this actor. `startOrdinal` counts the flow starts that this tier 1 sent
// to this group before this frame; round robin places a start by it. `timestampMs` is the packets' own time: wall time
// live, capture time in a replay; a frame spans at most `limits.frameSpanMs` of it. A frame with count 0 is an idle
// tier 1 saying where it stands, so that loss at the tail shows.
//
// A row with the flag DATAGRAM carries no packet (length 0): it names the datagram (addresses, protocol, id) that the
// next row's packet is the first fragment of. A row with LATER_FRAGMENT carries a packet that is keyed by that datagram
// hash instead of its flow hash, because the ports are not in it.
