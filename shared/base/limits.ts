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
  /** A frame that is not full waits for more packets at least so long, and then for the frame before it to be stored. */
  frameLingerMs: 1,
  /** Longest time a packet waits in a frame that is not full. */
  frameLatestMs: 5,
  /** Longest span of packet time inside one frame; all its packets share one timestamp. */
  frameSpanMs: 50,
  /** Unflushed bytes after which the bus asks publishers to pause. */
  busWindowBytes: 4 * 1024 * 1024,
  /**
   * Bytes of entries that one connection has appended and not heard of yet, at which it stops being writable; and bytes that an
   * appender holds until they are acknowledged. At 50 MB/s a third of a second.
   */
  appendWindowBytes: 16 * 1024 * 1024,
  /** An append without an answer for so long is unknown. */
  appendAnswerMs: 2_000,
  /** Frames that could not be appended for so long are dropped. Longer than an election of the log's servers (4 to 9 s). */
  appendAgeMs: 15_000,
  /** Pause before a frame that was refused is tried again, and what it grows to. */
  appendProbeMs: 250,
  appendProbeMaxMs: 1_000,
  /** At its end a tier 1 waits for its last frames to be stored for so long; then it counts them as lost. */
  tier1FlushMs: 5_000,
  /**
   * After so long without a frame to a group a tier 1 numbers its frames anew, under another name: replicas forget a life of
   * a tier 1 that has been silent for `lifeForgottenMs`.
   */
  lifeSilentMs: 600_000,
  lifeForgottenMs: 1_200_000,
  /** What a group's log keeps where nothing else is set. */
  logAgeMs: 10_000,
  logBytes: 256 * 1024 * 1024,
  /** A log that is read and has nothing new says so this often; after three missing heartbeats the reader begins anew. */
  logHeartbeatMs: 500,
  /** A reader that got nothing for so long asks whether the log still reaches to where it is. */
  logQuietMs: 1_000,
  /** Views an actor keeps, and revisions the key-value store keeps of each. NATS allows at most 64. */
  viewHistory: 64,
  /** Members in one view of a group. */
  groupMembers: 1_024,
  /** Groups in one cluster. */
  groups: 256,
  /** Servers an actor can tell apart in its flow table (12 bits) before ids of the long gone are used again. */
  knownServers: 4_096,
  /** Flows that the table of one group may be set to hold. */
  tableFlows: 100_000_000,
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
  knownDatagramMs: 60_000,
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
  /**
   * For so long, by the log's time, and for so many rows a replica remembers whose they were, where flows have backups: what a dead server had not
   * handled is replayed. A row takes 16 bytes.
   */
  recentRowsMs: 10_000,
  recentRows: 4_194_304,
  /** What a handler may keep for a flow that outlives its server, and bytes of one message of such states. */
  flowStateBytes: 65_536,
  flowStatesChunkBytes: 256 * 1024,
  /** Bytes of states in answer to one question; what is left over is asked for again. */
  flowStatesAnswerBytes: 4 * 1024 * 1024,
  /** Flows asked for in one message, and of all owners together until they have answered. */
  flowStatesAsked: 1_024,
  flowStatesWaiting: 16_384,
  /** Packets that wait, copied, until the state of their flow has come. */
  flowStateBufferBytes: 8 * 1024 * 1024,
  /** A question without an answer is asked again after so long, so many times; a flow whose state did not come is asked for anew much later. */
  flowStateAskMs: 400,
  flowStateAsks: 6,
  flowStateColdMs: 5_000,
  /** States of flows that have changed are asked for so often; in a group of more than `checkpointMembers` less often, so that a member answers no more. */
  checkpointMs: 1_000,
  checkpointMembers: 32,
  /** Last states of flows of others that have ended, kept until their server has said that it was done with the end. */
  endedFlowStates: 65_536,
  /** A replay that gets nothing of the log for so long asks how far it reaches back, and is given up when it has asked so often in a row. */
  replayQuietMs: 1_000,
  replayAsks: 10,
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
   * Sessions with one backend, one for each client. Each takes a port of the machine, of which Linux gives out 28,232
   * by default, and two file descriptors; three actors on one machine must find room.
   */
  backendSockets: 8_192,
  /** A session lasts for so long after its client's last packet, if nobody says otherwise: as long as an answered UDP flow. */
  backendSessionSeconds: 180,
  /** After the end of a session its socket stays for so long, to count the answers that come too late. */
  backendOverMs: 900_000,
  /** And so many of them stay at most. */
  backendOverSessions: 1_024,
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
assertRelation(
  limits.flowStateBytes + 12 <= limits.flowStatesChunkBytes,
  'a message must take the largest state of a flow',
);
assertRelation(limits.frameTargetBytes < limits.frameMaxBytes, 'the frame target must be below its maximum');
assertRelation(limits.frameMaxBytes < 1_048_576, "a frame must fit the bus's default message size");
assertRelation(
  limits.waitingFragmentMs < limits.knownDatagramMs,
  'a datagram must be known for longer than fragments wait',
);
assertRelation(limits.appendWindowBytes >= 16 * limits.frameMaxBytes, 'the append window must take many frames');
assertRelation(limits.appendAgeMs > 9_000 + limits.appendAnswerMs, 'frames must outlive an election in the log');
assertRelation(limits.appendWindowBytes < limits.logBytes / 2, 'the log must hold far more than is under way');
assertRelation(limits.frameLingerMs < limits.frameLatestMs, 'a frame must be able to wait for the one before it');
assertRelation(
  limits.lifeSilentMs <= limits.lifeForgottenMs / 2,
  'a life must be given up well before it is forgotten',
);
assertRelation(limits.helloSilentMs >= 3 * limits.helloMs, 'one lost hello must not make a tier 1 look gone');
assertRelation(limits.viewHistory <= 64, 'the key-value store keeps at most 64 revisions');
assertRelation(
  limits.answerRows * 48 + limits.frameTargetBytes + limits.udpPayloadBytes + 1_024 <= limits.frameMaxBytes,
  'a message of answers must take the largest datagram',
);
