// Every limit of the system, named once. Nothing here is tunable by users; what they tune is in config.ts and is checked
// against these. Relations between limits are asserted when the file is loaded.

export const limits = {
  /** Packets longer than this cannot be carried (the length column is a u16); tier 1 drops and counts them. */
  packetBytes: 65_535,
  /** Payload bytes at which a frame is closed. 16-32 KiB is where the per-message cost stops to matter. */
  frameTargetBytes: 24 * 1024,
  /** Rows in one frame. */
  frameRows: 1_024,
  /** Largest encoded frame anybody accepts; below the bus's default message limit of 1 MiB. */
  frameMaxBytes: 256 * 1024,
  /** Longest time a packet waits in an unfinished frame, in milliseconds of wall time. */
  frameLingerMs: 1,
  /** Longest span of packet time inside one frame; all its packets share one timestamp. */
  frameSpanMs: 50,
  /** An idle tier 1 says where it stands this often. */
  idleFrameMs: 250,
  /** Unflushed bytes after which the bus asks publishers to pause. */
  busWindowBytes: 4 * 1024 * 1024,
  /** Views an actor keeps, and revisions the key-value store keeps of each. NATS allows at most 64. */
  viewHistory: 64,
  /** Members in one view of a group. */
  groupMembers: 1_024,
  /** Groups in one cluster. */
  groups: 256,
  /** Servers an actor can tell apart in its flow table (12 bits) before ids of the long gone are used again. */
  knownServers: 4_096,
  /** Tier 1 streams an actor follows at once; the longest silent one is forgotten first. */
  tier1Streams: 256,
  /** Frames of one tier 1 that may wait for a view not seen yet, and for how long, in milliseconds. */
  waitingFrames: 512,
  waitingFrameMs: 2_000,
  /** Later fragments that wait for the first one, and for how long, in milliseconds of packet time. */
  waitingFragments: 1_024,
  waitingFragmentMs: 1_000,
  /** Datagrams whose first fragment was seen, and how long they are remembered, in milliseconds of packet time. */
  knownDatagrams: 16_384,
  knownDatagramMs: 30_000,
  /** Flow starts remembered so that a retransmitted start keeps its first owner, and for how long. */
  recentStarts: 65_536,
  recentStartMs: 10_000,
  /** A tier 1 that takes packets from the bus says so this often, and is taken to be gone when silent for so long. */
  helloMs: 250,
  helloSilentMs: 1_000,
  /** Tier 1 asks this often whether a group has fallen silent or is back. */
  groupTickMs: 250,
  /**
   * A group that falls silent again must be heard for twice as long before it is mapped in, up to this (or the time that is
   * set, where that is longer); one that stayed in for the second time starts afresh.
   */
  groupReturnMs: 60_000,
  groupQuietMs: 300_000,
  /** Senders of packets on the bus that a tier 1 tells apart; the longest silent one is forgotten first. */
  inputSenders: 64,
  /** Packets in one message of receipts, and how long the first of them waits for others, in milliseconds. */
  receiptRows: 1_000,
  receiptLingerMs: 2,
  /** Runs of traffic generators that an actor answers at once, and how long after their last packet. */
  receiptRuns: 16,
  receiptRunMs: 10_000,
  /** Clocks of tier 1s may differ by this much. Idle limits are longer, and what all must agree on allows for it. */
  clockErrorMs: 5_000,
  /** A frame time further behind than this is a clock that was set back, not a late packet. */
  clockJumpMs: 3_600_000,
  /** Longest payload of a UDP datagram: 65,535 less the UDP header (over IPv4 its header comes off as well: 65,507). */
  udpPayloadBytes: 65_527,
  /**
   * Receive buffer asked for at the socket of a VIP: what comes in while the process is busy for some ten milliseconds.
   * The system gives at most its own limit (net.core.rmem_max), and drops and counts what does not fit.
   */
  vipReceiveBytes: 4 * 1024 * 1024,
  /** Answers in one message to a tier 1. */
  answerRows: 1_024,
  /** Lives of servers whose answers a tier 1 tells apart; the one heard first is forgotten first. */
  answerSenders: 4_096,
  /**
   * Sockets towards one backend, one for each client. Each takes a port of the machine, of which Linux gives out 28,232
   * by default, and a file descriptor; three actors on one machine must find room.
   */
  backendSockets: 8_192,
  /** A flow that has ended keeps its socket for this long after its last answer, for answers that are late. */
  backendLingerMs: 5_000,
  /** A socket without traffic is closed after this much wall time: packet time, which ends flows, may stand still. */
  backendIdleMs: 900_000,
  /** Datagrams that the system has not taken yet; beyond them new ones are dropped. */
  backendPending: 16_384,
} as const;

function assertRelation(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits.ts: ${what}`);
}

assertRelation(
  limits.packetBytes + 16 * limits.frameRows + 1_024 <= limits.frameMaxBytes,
  'a frame must take the largest packet',
);
assertRelation(limits.frameTargetBytes < limits.frameMaxBytes, 'the frame target must be below its maximum');
assertRelation(limits.frameMaxBytes < 1_048_576, "a frame must fit the bus's default message size");
assertRelation(
  limits.waitingFragmentMs < limits.knownDatagramMs,
  'a datagram must be known for longer than fragments wait',
);
assertRelation(limits.helloSilentMs >= 3 * limits.helloMs, 'one lost hello must not make a tier 1 look gone');
assertRelation(limits.viewHistory <= 64, 'the key-value store keeps at most 64 revisions');
assertRelation(
  limits.answerRows * 48 + limits.frameTargetBytes + limits.udpPayloadBytes + 1_024 <= limits.frameMaxBytes,
  'a message of answers must take the largest datagram',
);
