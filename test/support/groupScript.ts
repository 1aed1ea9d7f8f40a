// The commands of golden transcripts (test/transcripts/): a group of production actors in one process, under a clock that goes on when the
// script says so. What is said of it: commands in the group's log and what came of them, what actors tell people, and which
// server got which packet.
//
//   group M ... [fig-6] [AVAILABILITY] [PLACEMENT]
//                                       servers that have started, one after the other, and are active; also idle limits, such as udp-opening=30
//   start M [WEIGHT]                    a server starts, and takes its place by itself
//   standby M [for M ...]               a standby starts, for these servers or for all
//   send KIND FLOWS [, KIND FLOWS]      a frame of one packet of each flow (1 3 5-8); KIND: syn tcp fin bye udp; bye is the other end's fin
//   traffic FLOWS until CONDITION       a frame of all flows each ten milliseconds
//   append WHO WHAT [, WHO WHAT]        commands, one right behind the other; WHO: a server, or operator. WHAT: remove M, drain M, leave M,
//                                       weigh M=W ..., configure M W, epoch N of M, epoch N of nobody
//   again                               the epoch that was begun last is appended a second time
//   drain M SECONDS                     a server is told to leave
//   crash M                             it is gone, with all it knew
//   pause M ..., hold M ...             it stands still; its log alone waits for it
//   deaf M ...                          it does not hear what others say of themselves
//   release M ...                       it goes on, and hears
//   trim M                              the log has trimmed what M has not read
//   slow M MS, late M MS                what M says to peers, and what it appends, takes so long
//   lose log, make log                  somebody deletes it, and makes it anew
//   damage M F                          the memory of M loses flow F
//   pass SECONDS, until CONDITION       time passes. CONDITION: M active, M left, view N, epoch N, whole
//   views, holds, alike                 what each has agreed on, the flows it has, and whether all have the same

import assert from 'node:assert/strict';
import type { Effects } from '../../services/dssl/replica/effects.ts';
import { isOneOf } from '../../shared/base/validate.ts';
import type { GroupLog } from '../../shared/log/log.ts';
import { type Command, decodeCommand, encodeCommand, operatorAuthor } from '../../shared/log/records/command.ts';
import type { Life } from '../../shared/membership/transitions.ts';
import { availabilityNames, placementNames } from '../../shared/membership/view.ts';
import { type Actor, GroupOfActors, hashOf } from './groupOfActors.ts';
import { commandInWords, flowsIn, flowsInWords, idleIn, joinAlike, numbersOf, viewInWords } from './groupWords.ts';

const kinds = ['syn', 'tcp', 'fin', 'bye', 'udp'] as const;
type Kind = (typeof kinds)[number];
/** Nothing that a script waits for takes longer. */
const untilMs = 60_000;

interface Sent {
  readonly id: number;
  readonly flow: number;
}

export class GroupScript {
  #group = new GroupOfActors();
  #log: GroupLog | undefined;
  #startMs = 0;
  /** Lines so far; those about commands are put into words at the end, when it is known what came of them. */
  #lines: (() => string)[] = [];
  /** By position and words of a command: what it came to. */
  readonly #effects = new Map<string, string>();
  #lastEpoch: Uint8Array | undefined;
  #nextId = 1;
  readonly #flows = new Map<string, number>();
  /** Packets that nobody has got so far. */
  #missing: Sent[] = [];
  /** How many packets of each actor have been told of. */
  readonly #told = new Map<Actor, number>();
  readonly #toldReplayed = new Map<Actor, number>();
  readonly #flowOf = new Map<number, number>();

  /** Runs one command; resolves to what there is to say. */
  async run(command: string): Promise<readonly string[]> {
    this.#lines = [];
    const [name, ...words] = command.split(' ');
    const handler = this.#commands[name];
    if (handler === undefined) throw new Error(`there is no command "${name}"`);
    await handler(words);
    this.#tellLate();
    return joinAlike(this.#lines.map((line) => line()));
  }

  stop(): void {
    this.#group.stop();
  }

  readonly #commands: Readonly<Record<string, (words: string[]) => Promise<void> | void>> = {
    group: (words) => this.#begin(words),
    start: async ([name, weight]) => {
      this.#group.start(name, weight === undefined ? 100 : Number(weight));
      await this.#group.run(1);
    },
    standby: async ([name, , ...servers]) => {
      this.#group.start(name, 100, servers);
      await this.#group.run(1);
    },
    send: (words) => this.#send(words.join(' ').split(', ')),
    traffic: (words) => this.#traffic(words),
    append: (words) => this.#append(words.join(' ').split(', ')),
    again: async () => {
      assert.ok(this.#lastEpoch !== undefined);
      this.#log?.append('command', this.#lastEpoch);
      await this.#group.run(20);
    },
    drain: async ([name, seconds]) => {
      void this.#actor(name).actor.drain(Number(seconds) * 1_000);
      await this.#group.run(50);
    },
    crash: ([name]) => {
      this.#actor(name).gate.pause();
      this.#actor(name).stop();
    },
    pause: (names) => {
      for (const name of names) this.#actor(name).gate.pause();
    },
    hold: (names) => {
      for (const name of names) this.#actor(name).gate.hold();
    },
    deaf: (names) => {
      for (const name of names) this.#actor(name).gate.isDeaf = true;
    },
    release: async (names) => {
      for (const name of names) this.#actor(name).gate.release();
      await this.#group.run(1);
    },
    trim: async ([name]) => {
      this.#actor(name).gate.trim();
      await this.#group.run(1);
    },
    slow: ([name, ms]) => {
      this.#actor(name).gate.peerDelayMs = Number(ms);
    },
    late: ([name, ms]) => {
      this.#actor(name).gate.appendDelayMs = Number(ms);
    },
    lose: async () => {
      void this.#log?.destroy();
      await this.#group.run(1);
      this.#say('the log is gone');
    },
    make: async () => {
      void this.#log?.make();
      await this.#group.run(1);
    },
    damage: ([name, flow]) => {
      const table = this.#actor(name).actor.replica?.table;
      const handle = table?.find(hashOf(Number(flow), 1), hashOf(Number(flow), 2), 1) ?? -1;
      assert.ok(handle >= 0, `${name} does not know flow ${flow}`);
      table?.remove(handle);
    },
    pass: ([seconds]) => this.#group.run(Number(seconds) * 1_000),
    until: (words) => this.#until(words),
    views: () => {
      for (const { server, actor } of this.#living()) {
        const epoch = actor.replica?.epoch?.number;
        this.#say(`${server}: ${actor.phase}, epoch ${epoch ?? 'none'}, ${viewInWords(actor.view)}`);
      }
    },
    holds: () => {
      for (const { server, actor } of this.#living()) {
        const own: number[] = [];
        for (let slice = 0; slice < 256; slice++) {
          actor.replica?.eachOwnFlow(slice, (hi, lo) => own.push(this.#flows.get(`${hi} ${lo}`) ?? Number.NaN));
        }
        this.#say(`${server} has ${flowsInWords(own)}`);
      }
    },
    alike: () => this.#alike(),
  };

  async #begin(words: string[]): Promise<void> {
    const placement = words.find((word) => isOneOf(placementNames, word)) ?? 'rendezvous';
    assert.ok(isOneOf(placementNames, placement));
    const method = words.includes('fig-6') ? { typeOneMethod: 'fig-6' as const } : {};
    const availability = availabilityNames.find((word) => words.includes(word)) ?? 'none';
    const rules = { ...method, availability, idle: idleIn(words) };
    this.#group = new GroupOfActors(rules, {}, placement);
    const { clock } = this.#group;
    for (const name of words.filter((word) => word.length === 1)) {
      const { actor } = this.#group.start(name);
      assert.ok(await this.#group.until(() => actor.phase === 'active', 5_000));
    }
    this.#log = await this.#group.openLog();
    // From here on the seconds are counted.
    await this.#group.run(3_000);
    this.#startMs = clock.nowMs();
    this.#group.onApplied = (_, replica, effects) => this.#note(replica.position, effects);
    this.#group.onLine = (server, message) => {
      // Views tell where a server stands.
      if (!message.startsWith('server ')) this.#sayAt(`${server}: ${message}`);
    };
    const bounds = this.#log.bounds();
    await this.#group.run(1);
    this.#watch(this.#log, (await bounds).last);
    this.#say(viewInWords(this.#group.actors[0].actor.view));
  }

  /** Reads the log's commands beside the actors. */
  #watch(log: GroupLog, after: number): void {
    const onBroken = (): void => this.#watch(log, 0);
    log.read(
      { after, kinds: ['command'] },
      { onEntry: ({ position, data }) => this.#onCommand(position, data), onBroken },
    );
  }

  #onCommand(position: number, data: Uint8Array): void {
    const command = decodeCommand(data);
    if (command === undefined || command.kind === 'tick') return;
    if (command.kind === 'epoch') this.#lastEpoch = data.slice();
    const words = commandInWords(command);
    const stamp = this.#stamp();
    this.#lines.push(() => `${stamp}${words}${this.#outcomeOf(position, command)}`);
  }

  #outcomeOf(position: number, command: Command): string {
    if (command.kind === 'ask') return '';
    if (command.kind === 'epoch') {
      const isInForce = this.#living().some(({ actor }) => actor.replica?.epoch?.id === command.id);
      const applied = this.#living().some(({ actor }) => actor.replica?.epoch?.position === position);
      return isInForce && applied ? '' : ': without effect';
    }
    return this.#effects.get(`${position} ${commandInWords(command)}`) ?? ': nobody has read it';
  }

  #note(position: number, { command, viewChanged }: Effects): void {
    if (command === undefined) return;
    const key = `${position} ${commandInWords(command)}`;
    if (this.#effects.has(key)) return;
    const view = this.#group.actors.find(({ actor }) => actor.replica?.position === position)?.actor.replica?.view;
    this.#effects.set(key, viewChanged && view !== undefined ? ` → ${viewInWords(view)}` : ': without effect');
  }

  async #send(parts: readonly string[]): Promise<void> {
    const sent: Sent[] = [];
    const packets = parts.flatMap((part) => {
      const [kind, ...flows] = part.split(' ');
      assert.ok(isOneOf(kinds, kind), `there is no packet "${kind}"`);
      return numbersOf(flows).map((flow) => this.#packet(kind, flow, sent));
    });
    await this.#group.send(...packets);
    await this.#group.run(20);
    this.#say(this.#takersOf(sent));
  }

  async #traffic(words: string[]): Promise<void> {
    const at = words.indexOf('until');
    const flows = numbersOf(words.slice(0, at));
    const holds = this.#condition(words.slice(at + 1));
    const seen = new Set<string>();
    for (let spentMs = 0; !holds(); spentMs += 10) {
      assert.ok(spentMs < untilMs, `not until ${words.slice(at + 1).join(' ')}`);
      const sent: Sent[] = [];
      await this.#group.send(...flows.map((flow) => this.#packet('tcp', flow, sent)));
      await this.#group.run(10);
      seen.add(this.#takersOf(sent));
    }
    for (const takers of seen) this.#say(`${takers}, time and again`);
  }

  #packet(kind: Kind, flow: number, sent: Sent[]) {
    const id = this.#nextId++;
    sent.push({ id, flow });
    this.#flowOf.set(id, flow);
    this.#flows.set(`${hashOf(flow, 1)} ${hashOf(flow, 2)}`, flow);
    const isBack = kind === 'bye';
    return { id, flow, start: kind === 'syn', end: kind === 'fin' || isBack, isBack, isUdp: kind === 'udp' };
  }

  /** Who got these packets; who has none of them is left out. */
  #takersOf(sent: readonly Sent[]): string {
    const left = new Map(sent.map((each) => [each.id, each]));
    const takers: string[] = [];
    for (const actor of this.#group.actors) {
      const got = actor.got.slice(this.#told.get(actor) ?? 0);
      if (got.length === 0) continue;
      const flows = got.map((id) => {
        const each = left.get(id) ?? this.#missing.find((missing) => missing.id === id);
        assert.ok(each !== undefined, `packet ${id} was accepted a second time, by ${actor.server}`);
        left.delete(id);
        this.#missing = this.#missing.filter((missing) => missing !== each);
        return each.flow;
      });
      this.#told.set(actor, actor.got.length);
      takers.push(`${actor.server} gets ${flowsIn(flows)}`);
    }
    takers.push(...this.#replays(left));
    this.#missing.push(...left.values());
    if (left.size > 0) takers.push(`nobody gets ${flowsIn([...left.values()].map(({ flow }) => flow))}`);
    return takers.join(', ');
  }

  /** What heirs of dead servers have got, marked. */
  #replays(left: Map<number, Sent>): string[] {
    const words: string[] = [];
    for (const actor of this.#group.actors) {
      const ids = actor.replayed.slice(this.#toldReplayed.get(actor) ?? 0);
      if (ids.length === 0) continue;
      this.#toldReplayed.set(actor, actor.replayed.length);
      for (const id of ids) left.delete(id);
      this.#missing = this.#missing.filter(({ id }) => !ids.includes(id));
      words.push(`${actor.server} replays ${flowsIn(ids.map((id) => this.#flowOf.get(id) ?? Number.NaN))}`);
    }
    return words;
  }

  /** Packets that somebody got only now. */
  #tellLate(): void {
    const hasNew = (actor: Actor) =>
      actor.got.length > (this.#told.get(actor) ?? 0) || actor.replayed.length > (this.#toldReplayed.get(actor) ?? 0);
    if (this.#group.actors.some(hasNew)) this.#say(`late: ${this.#takersOf([])}`);
  }

  async #append(parts: readonly string[]): Promise<void> {
    for (const part of parts) {
      const [who, ...what] = part.split(' ');
      const author = who === 'operator' ? operatorAuthor : this.#life(who);
      const epoch = who === 'operator' ? '' : (this.#group.actors[0].actor.replica?.epoch?.id ?? '');
      this.#log?.append('command', encodeCommand(this.#commandOf(author, epoch, what)));
    }
    await this.#group.run(20);
  }

  #commandOf(author: Life, epoch: string, [kind, name, ...rest]: readonly string[]): Command {
    const common = { author, epoch };
    switch (kind) {
      case 'remove':
        return { ...common, kind, life: this.#life(name), handled: 0 };
      case 'drain':
      case 'leave':
        return { ...common, kind, life: this.#life(name) };
      case 'configure':
        return { ...common, kind, life: this.#life(name), weight: Number(rest[0]) };
      case 'weigh': {
        const pairs = [name, ...rest].map((each) => each.split('='));
        return { ...common, kind, weights: new Map(pairs.map(([server, weight]) => [server, Number(weight)])) };
      }
      case 'epoch': {
        const donor = rest[1] === 'nobody' ? undefined : this.#life(rest[1]);
        const previous = epoch;
        const id = `${name}-by-${author.server}`;
        const { birth } = this.#group;
        return { ...common, kind, epoch: '', id, number: Number(name), previous, since: 0, donor, birth };
      }
      default:
        throw new Error(`there is no command "${kind}" for the log`);
    }
  }

  async #until(words: string[]): Promise<void> {
    const holds = this.#condition(words);
    assert.ok(await this.#group.until(holds, untilMs), `not until ${words.join(' ')}`);
  }

  #condition([what, which]: readonly string[]): () => boolean {
    const living = () => this.#living().map(({ actor }) => actor);
    if (what === 'whole') return () => living().every(({ recovery }) => recovery.isWhole);
    if (what === 'view') return () => living().some(({ view }) => view.number >= Number(which));
    if (what === 'epoch') return () => living().some(({ replica }) => (replica?.epoch?.number ?? 0) >= Number(which));
    const { actor } = this.#actor(what);
    return () => actor.phase === which;
  }

  #alike(): void {
    const replicas = this.#living().map(({ server, actor }) => ({ server, replica: actor.replica }));
    const [first, ...others] = replicas;
    for (const { server, replica } of others) {
      assert.ok(replica !== undefined && first.replica !== undefined);
      const differs =
        replica.position !== first.replica.position ||
        replica.globalFingerprint() !== first.replica.globalFingerprint();
      if (differs) this.#say(`${server} and ${first.server} have agreed on other things`);
      for (let slice = 0; slice < 256; slice++) {
        if (replica.digest(slice) !== first.replica.digest(slice))
          this.#say(`${server} and ${first.server} know other flows`);
      }
    }
    if (this.#lines.length === 0) this.#say(`all ${replicas.length} have the same`);
  }

  #actor(name: string): Actor {
    const actor = this.#group.actors.findLast(({ server }) => server === name);
    if (actor === undefined) throw new Error(`there is no server "${name}"`);
    return actor;
  }

  #life(name: string): Life {
    const { server, incarnation } = this.#actor(name).actor.candidate;
    return { server, incarnation };
  }

  #living(): Actor[] {
    return this.#group.actors.filter((actor) => !actor.isStopped && actor.actor.phase !== 'left');
  }

  #stamp(): string {
    return `${((this.#group.clock.nowMs() - this.#startMs) / 1_000).toFixed(1)} s  `;
  }

  #sayAt(line: string): void {
    this.#say(`${this.#stamp()}${line}`);
  }

  #say(line: string): void {
    this.#lines.push(() => line);
  }
}
