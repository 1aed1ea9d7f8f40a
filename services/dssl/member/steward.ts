// What a member does for its group apart from packets: it says that it lives, where it stands, how far it has come and how busy it is; hears the
// others say so; tells the group whom it does not hear; and proposes to remove those that are dead, and other weights.
//
//   gossip, beats ─► failure detector ─► suspects ─► told to the group
//         │                         └──► dead ─────► command: remove
//         └─► loads ─► policy of weights ──────────► command: weigh
//
// Any member may propose. Those that know of a death act in the order of their names, each a moment after the one before: so one of
// them does, and when that one dies in the middle, the next. If two do, the log puts one first, and the command of the other
// finds nothing left to do. Weights are the business of the first active member that nobody suspects.
//
// Pure: messages, views and monotonic time go in; messages and proposals come out through `StewardPorts`.

import type { ClusterSettings } from '../../../shared/config/settings.ts';
import { FailureDetector } from '../../../shared/membership/failureDetector.ts';
import {
  decodeGossip,
  encodeGossip,
  type LineReport,
  type LineState,
  type LiveState,
  type SliceDigest,
  type StateMessage,
  stateEveryMs,
} from '../../../shared/membership/gossip.ts';
import type { Load } from '../../../shared/membership/load.ts';
import type { ProtectionReport } from '../../../shared/membership/protection.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import { findMember, type View } from '../../../shared/membership/view.ts';
import { WeightGovernor } from '../../../shared/membership/weights/governor.ts';
import { compareNames } from '../../../shared/placement/seed.ts';

export interface StewardPorts {
  /** Sends to those that watch this member. */
  beat(message: Uint8Array): void;
  /** Sends to the whole group, and to tier 1. */
  gossip(message: Uint8Array): void;
  /** From now on hears the beats of these servers, and of no others. */
  watch(servers: readonly string[]): void;
  /** Appends that this life is dead; said again and again until the view is without it. `handled`: see gossip. */
  remove(life: Life, handled: number): void;
  weigh(weights: ReadonlyMap<string, number>): void;
  /** How busy this server is; undefined when nobody measures. */
  load(): Load | undefined;
  /** How far it has come with the log; undefined before it has a log. */
  line(): LineReport | undefined;
  /** The state in that report. */
  lineState(): LineState | undefined;
  /** How safe its flows are; undefined where flows have no backups. */
  protection?(): ProtectionReport | undefined;
  /** Digests to say with the next state. */
  digests(): readonly SliceDigest[];
  /** A state message of another member of the group. */
  onState(message: StateMessage, nowMs: number): void;
  /** A member was found dead. */
  onDead(life: Life, silentMs: number): void;
}

export interface StewardCounters {
  beats: number;
  states: number;
  suspicions: number;
  /** Times that this member was suspected and said that it lives. */
  refutations: number;
  /** Lives that this member has proposed to remove. */
  removals: number;
  /** Changes of weights that it has proposed. */
  reweighings: number;
  /** Messages that made no sense. */
  bad: number;
  bytesSent: number;
  bytesHeard: number;
}

/** Each of those that know waits so many beats longer than the one before it. */
const beatsPerRank = 1.5;
/** Pause between two questions to the policy of weights, and whether it is this member that has to ask. */
const governEveryMs = 250;
/** Own signs of life that may be under way: one that comes back later than this many others are sent says nothing. */
const beatsRemembered = 256;
/** A refutation needs no repetition within this time. */
const refuteAgainMs = 100;

export class Steward {
  readonly detector: FailureDetector;
  readonly #governor: WeightGovernor;
  readonly counters: StewardCounters = {
    beats: 0,
    states: 0,
    suspicions: 0,
    refutations: 0,
    removals: 0,
    reweighings: 0,
    bad: 0,
    bytesSent: 0,
    bytesHeard: 0,
  };
  readonly #self: Life;
  readonly #ports: StewardPorts;
  #settings: ClusterSettings;
  #view: View | undefined;
  /** Whether this life is a member in it. */
  #isMember = false;
  #watched = '';
  #beat = 0;
  /** When the last signs of life were sent, by their numbers. */
  readonly #sentMs = new Map<number, number>();
  #beatAtMs = Number.NEGATIVE_INFINITY;
  #stateAtMs = Number.NEGATIVE_INFINITY;
  #saidState: LiveState | undefined;
  #refutedAtMs = Number.NEGATIVE_INFINITY;
  #governedAtMs = Number.NEGATIVE_INFINITY;
  /** Members that this one has found dead. */
  #found: Life[] = [];
  /** How far each life had handled the log when it said so last. */
  readonly #handled = new Map<string, Life & { readonly line: LineReport }>();
  #saidLine: LineState | undefined;

  constructor(self: Life, settings: ClusterSettings, ports: StewardPorts) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#settings = settings;
    this.#ports = ports;
    this.detector = new FailureDetector(self, settings.watching);
    this.#governor = new WeightGovernor(settings.weights, settings.watching.stateMs);
  }

  retune(settings: ClusterSettings): void {
    this.#settings = settings;
    this.detector.retune(settings.watching);
    this.#governor.retune(settings.weights, settings.watching.stateMs);
    this.#listen();
  }

  /** The newest view of the group. */
  onView(view: View, nowMs: number): void {
    if (view === this.#view) return;
    this.#view = view;
    this.#isMember = view.members.some((member) => isLifeOf(member, this.#self));
    this.detector.follow(view, nowMs);
    for (const server of this.#handled.keys()) if (findMember(view, server) === undefined) this.#handled.delete(server);
    this.#found = this.#found.filter((life) => view.members.some((member) => isLifeOf(member, life)));
    this.#listen();
  }

  /** A message on the group's gossip subject, or a beat. */
  onMessage(bytes: Uint8Array, nowMs: number): void {
    this.counters.bytesHeard += bytes.length;
    const message = decodeGossip(bytes);
    if (message === undefined) {
      this.counters.bad++;
      return;
    }
    if (message.kind !== 'suspect') {
      if (isLifeOf(message, this.#self)) this.#hearSelf(message.beat, nowMs);
      else this.detector.heard(message, nowMs);
      if (message.kind === 'state') this.#note(message, nowMs);
      return;
    }
    const from = this.#view && findMember(this.#view, message.from);
    if (from !== undefined) this.detector.heard(from, nowMs);
    const { server, incarnation, isSure } = message;
    const suspect = { life: { server, incarnation }, isSure };
    if (this.detector.suspected(message.from, suspect, nowMs)) this.#refute(nowMs);
  }

  /** The connection for gossip is there again. */
  onReconnected(nowMs: number): void {
    this.detector.reconnected(nowMs);
  }

  /** Time passes: to be called every few tens of milliseconds. `state`: where this server stands; undefined: nowhere yet. */
  tick(nowMs: number, state: LiveState | undefined): void {
    if (state === undefined) return;
    if (nowMs - this.#beatAtMs >= this.#settings.watching.beatMs) {
      this.#beatAtMs = nowMs;
      this.counters.beats++;
      this.#send('beat', encodeGossip({ kind: 'beat', ...this.#self, beat: this.#nextBeat(nowMs) }));
    }
    const everyMs = stateEveryMs(this.#view?.members.length ?? 1, this.#settings.watching.stateMs);
    const isNews = state !== this.#saidState || this.#ports.lineState() !== this.#saidLine;
    if (isNews || nowMs - this.#stateAtMs >= everyMs) this.#sayState(state, nowMs);
    if (!this.#isMember) return;
    this.#judge(nowMs);
    this.#govern(nowMs);
  }

  #judge(nowMs: number): void {
    const { suspects, dead } = this.detector.tick(nowMs);
    for (const { life, isSure } of suspects) {
      this.counters.suspicions++;
      this.#send('gossip', encodeGossip({ kind: 'suspect', from: this.#self.server, ...life, isSure }));
    }
    for (const { life, sinceMs, silentMs, rank } of dead) {
      if (nowMs - sinceMs < rank * beatsPerRank * this.#settings.watching.beatMs) continue;
      const isNews = !this.#found.some((found) => isLifeOf(found, life));
      if (isNews) {
        this.#found.push(life);
        this.counters.removals++;
      }
      if (isNews) this.#ports.onDead(life, silentMs);
      this.#ports.remove(life, this.#handledBy(life));
    }
  }

  /** How far a life has handled the log that is followed here: positions of another line say nothing. */
  #handledBy(life: Life): number {
    const said = this.#handled.get(life.server);
    if (said === undefined || !isLifeOf(said, life)) return 0;
    return said.line.epoch === this.#ports.line()?.epoch ? said.line.handled : 0;
  }

  #govern(nowMs: number): void {
    const view = this.#view;
    if (view === undefined || nowMs - this.#governedAtMs < governEveryMs) return;
    this.#governedAtMs = nowMs;
    if (!this.isFirst(nowMs)) return;
    const weights = this.#governor.propose(view, nowMs);
    if (weights === undefined) return;
    this.counters.reweighings++;
    this.#ports.weigh(weights);
  }

  /** Whether this member is the first active one that nobody suspects: it does what one member does for all. */
  isFirst(nowMs: number): boolean {
    if (this.#view === undefined) return false;
    // Where nobody is active, whoever follows the log does it.
    return (this.#governorOf(this.#view, nowMs) ?? this.#self.server) === this.#self.server;
  }

  /** The first active member that nobody suspects. */
  #governorOf({ members }: View, nowMs: number): string | undefined {
    const able = members.filter(({ server, state }) => state === 'active' && !this.detector.isSuspected(server, nowMs));
    return able.map(({ server }) => server).sort(compareNames)[0];
  }

  #refute(nowMs: number): void {
    if (nowMs - this.#refutedAtMs < refuteAgainMs) return;
    this.#refutedAtMs = nowMs;
    this.counters.refutations++;
    this.#sayState(this.#saidState, nowMs);
  }

  #sayState(state: LiveState | undefined, nowMs: number): void {
    this.#saidState = state;
    this.#stateAtMs = nowMs;
    this.counters.states++;
    const view = this.#view?.number ?? 0;
    const load = this.#ports.load();
    const line = this.#ports.line();
    this.#saidLine = line?.state;
    const digests = this.#ports.digests();
    const protection = this.#ports.protection?.();
    const beat = this.#nextBeat(nowMs);
    const said = { beat, state, view, line, load, digests, protection };
    this.#send('gossip', encodeGossip({ kind: 'state', ...this.#self, ...said }));
  }

  #nextBeat(nowMs: number): number {
    this.#sentMs.set(this.#beat, nowMs);
    this.#sentMs.delete(this.#beat - beatsRemembered);
    return this.#beat++;
  }

  #hearSelf(beat: number, nowMs: number): void {
    const sentMs = this.#sentMs.get(beat);
    if (sentMs === undefined) return;
    // One that comes back at once was not behind much else, so all is heard up to now.
    const isPrompt = nowMs - sentMs < this.#settings.watching.beatMs;
    this.detector.heardSelf(beat, isPrompt ? nowMs : sentMs);
  }

  #send(kind: 'beat' | 'gossip', message: Uint8Array): void {
    this.counters.bytesSent += message.length;
    this.#ports[kind](message);
  }

  #note(message: StateMessage, nowMs: number): void {
    const { server, incarnation, load, line } = message;
    this.#ports.onState(message, nowMs);
    const known = this.#view && findMember(this.#view, server);
    const isFormer = known !== undefined && known.incarnation !== incarnation;
    if (line !== undefined && !isFormer) this.#handled.set(server, { server, incarnation, line });
    if (load === undefined || this.#view === undefined) return;
    if (findMember(this.#view, server)?.incarnation !== incarnation) return;
    this.#governor.heard({ server, incarnation, load, heardAtMs: nowMs });
  }

  /** Own beats come back, too: who hears itself is not deaf. */
  #listen(): void {
    const servers = [this.#self.server, ...this.detector.watched];
    const names = servers.join();
    if (names === this.#watched) return;
    this.#watched = names;
    this.#ports.watch(servers);
  }
}
