// A tier 1 with VIPs on the embedded bus, of a cluster with one group and a server that is a member and does not exist:
// its packets are read from the group's log. All in one process, on real sockets of the loopback interface.

import { Tier1Actor } from '../../services/tier1/actor.ts';
import { UdpIngress } from '../../services/tier1/ingress/udp.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { parseUdpUrl } from '../../shared/base/udpAddress.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import { type Subjects, subjectsOf, viewKey } from '../../shared/bus/subjects.ts';
import { type ClusterMap, defaultLogSettings } from '../../shared/config/map.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';
import type { LogEntry } from '../../shared/log/log.ts';
import { Frame } from '../../shared/log/records/frame.ts';
import { encodeMirror } from '../../shared/membership/mirror.ts';
import { defaultRules, emptyView } from '../../shared/membership/view.ts';
import { AnswersBuilder, answerRow } from '../../shared/messages/answers.ts';
import { formatAddress, parseAddress } from '../../shared/packet/addressText.ts';
import { Headers } from '../../shared/packet/decode/headers.ts';
import { parse } from '../../shared/packet/decode/parse.ts';
import { Waiter } from './busInbox.ts';

const map: ClusterMap = {
  version: 1,
  cluster: 'life',
  groupSelection: 'hash',
  groups: [{ id: 'g1', weight: 1, serves: 'both', vlan: 0 }],
  keys: {
    flow: 'five-tuple',
    group: 'address-pair',
    symmetric: true,
    tunnel: 'outer',
    subscriberNetworks: [],
    secretFingerprint: '',
  },
  placement: 'rendezvous',
  rules: defaultRules,
  seed: 1,
  log: defaultLogSettings,
  settings: defaultSettings,
};

/** A packet as it came to the group. */
export interface CaughtPacket {
  readonly bytes: Uint8Array;
  readonly source: string;
  readonly sourcePort: number;
  readonly target: string;
  readonly targetPort: number;
  readonly payload: Uint8Array;
}

export class VipTier1 {
  readonly hub = new MemoryHub();
  readonly subjects: Subjects = subjectsOf('c');
  readonly id = 'tier1-00000001';
  /** Log lines of the ingress. */
  readonly lines: string[] = [];
  readonly #packets = new Waiter<CaughtPacket>();
  readonly #bus: Bus;
  #sequence = 0;
  tier1!: Tier1Actor;
  ingress!: UdpIngress;

  private constructor() {
    this.#bus = this.hub.connect('server');
  }

  /** `windowBytes`: of frames that tier 1 keeps until the log has them. */
  static async start(inputs: readonly string[], windowBytes?: number): Promise<VipTier1> {
    const made = new VipTier1();
    const { subjects, hub, id } = made;
    const bus = hub.connect('tier 1');
    const store = await bus.openKeyValue(subjects.bucket);
    const birth = { group: 'g1', placement: map.placement, seed: 1, rules: map.rules };
    const state = { number: 0, state: 'active', weight: 1, base: 1, flows: 0 } as const;
    const view = { ...emptyView(birth), number: 1, members: [{ server: 's', incarnation: 1, ...state }] };
    await store.create(viewKey('g1'), encodeMirror({ epoch: { number: 1, id: 'e' }, position: 1, view }));
    await made.#catch();
    const options = { subjects, clock: systemClock, bus, dataBus: bus, controlBus: bus, packetTime: 'live' as const };
    made.tier1 = new Tier1Actor({
      ...options,
      ...(windowBytes && { windowBytes }),
      tier1Id: id,
      map,
      keyer: new FlowKeyer({ secret: 'test' }),
    });
    await made.tier1.start();
    await made.tier1.whenServed();
    const note = (_fields: object, line: string): void => void made.lines.push(line);
    try {
      made.ingress = await UdpIngress.open(
        inputs.map((input) => parseUdpUrl(input, 0)),
        { ...options, tier1: made.tier1, log: { info: note, warn: note } },
      );
    } catch (error) {
      await made.tier1.stop();
      throw error;
    }
    return made;
  }

  /** Ports of the VIPs, in the order of the inputs. */
  get ports(): number[] {
    return this.lines.flatMap((line) => /^clients may send to .*:(\d+)$/.exec(line)?.slice(1).map(Number) ?? []);
  }

  /** Resolves when that many packets have come to the group. */
  packets(wanted: number): Promise<readonly CaughtPacket[]> {
    return this.#packets.count(wanted);
  }

  /** Answers the sender of a packet, or whoever is said instead, as a server's actor would. */
  answer(packet: CaughtPacket, text: string, changes: Partial<CaughtPacket> = {}): void {
    const { source, sourcePort, target, targetPort } = { ...packet, ...changes };
    const builder = new AnswersBuilder();
    const ends = { clientPort: sourcePort, vipPort: targetPort };
    builder.add(answerRow({ ...ends, client: parseAddress(source), vip: parseAddress(target) }), Buffer.from(text));
    this.publish(builder.finish({ server: 's', incarnation: 1, sequence: ++this.#sequence }));
  }

  /** Anything on the subject of answers. */
  publish(message: Uint8Array): void {
    this.#bus.publish(this.subjects.return(this.id), message);
  }

  /** Makes the next message of answers one that comes after lost ones. */
  loseAnswers(messages: number): void {
    this.#sequence += messages;
  }

  async stop(): Promise<void> {
    await this.ingress.stop();
    await this.tier1.stop();
  }

  async #catch(): Promise<void> {
    const frame = new Frame();
    const headers = new Headers();
    const retention = { ageMs: 10_000, bytes: 64 * 1024 * 1024 };
    const log = await this.#bus.openLog('c', 'g1', { retention, storage: 'memory', replicas: 1 });
    const onEntry = ({ data }: LogEntry): void => {
      if (frame.decode(data) !== 'none') throw new Error('no frame');
      let at = 0;
      for (let row = 0; row < frame.count; row++) {
        const bytes = Uint8Array.from(frame.payload.subarray(at, (at += frame.length(row))));
        if (parse(bytes, 0, bytes.length, 101, headers, false) !== 0) throw new Error('no packet');
        const { outer } = headers;
        const addressBytes = outer.version === 4 ? 4 : 16;
        this.#packets.add({
          bytes,
          source: formatAddress(bytes, outer.source, outer.source + addressBytes),
          sourcePort: outer.sourcePort,
          target: formatAddress(bytes, outer.target, outer.target + addressBytes),
          targetPort: outer.targetPort,
          payload: bytes.slice(outer.payload + 8, outer.end),
        });
      }
    };
    log.read({ after: 0 }, { onEntry, onBroken: () => undefined });
  }
}
