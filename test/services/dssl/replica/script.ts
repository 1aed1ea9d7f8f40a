// Arbitrary logs of a group: frames with few flows, so that they meet, and commands of few servers, so that they come and go;
// clocks that are wrong, frames that come twice or are missing, and bytes that are nothing. For property tests.

import fc from 'fast-check';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import type { Life } from '../../../../shared/membership/transitions.ts';
import type { GroupRules, PlacementName } from '../../../../shared/membership/view.ts';
import { fin, gtp, lifeOf, type Row, syn, TestLog, tcp, udp } from './support.ts';

/** Slices that the flows of a script are in. */
export const usedSlices: readonly number[] = [3, 0x80];
const flowsPerSlice = 24;

export const lives: readonly Life[] = ['a', 'b', 'c', 'd'].flatMap((server) =>
  [1, 2].map((life) => lifeOf(server, life)),
);

export interface Script {
  readonly rules: Partial<GroupRules>;
  readonly placement: PlacementName;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly stepMs: number;
  readonly captureMs: number;
  readonly what: FrameStep | CommandStep | NoiseStep;
}

interface FrameStep {
  readonly kind: 'frame';
  readonly tier1Id: string;
  readonly rows: readonly { readonly flow: number; readonly kind: number; readonly datagram: number }[];
  /** Frames that are missing before it, or it is one that came before. */
  readonly missing: number;
}

interface CommandStep {
  readonly kind: 'command';
  readonly author: number;
  readonly other: number;
  readonly command:
    | 'join'
    | 'activate'
    | 'drain'
    | 'leave'
    | 'remove'
    | 'weigh'
    | 'configure'
    | 'rules'
    | 'tick'
    | 'ask';
  readonly value: number;
}

interface NoiseStep {
  readonly kind: 'noise';
  readonly entryKind: 'frame' | 'command';
  readonly bytes: Uint8Array;
}

const frameStep = fc.record({
  kind: fc.constant('frame' as const),
  tier1Id: fc.constantFrom('t1', 't2'),
  rows: fc.array(
    fc.record({
      flow: fc.nat(usedSlices.length * flowsPerSlice - 1),
      kind: fc.nat(11),
      datagram: fc.nat(3),
    }),
    { minLength: 1, maxLength: 12, size: 'max' },
  ),
  missing: fc.oneof(
    { arbitrary: fc.constant(0), weight: 20 },
    { arbitrary: fc.integer({ min: -3, max: 3 }), weight: 1 },
  ),
});

const commandStep = fc.record({
  kind: fc.constant('command' as const),
  author: fc.nat(lives.length - 1),
  other: fc.nat(lives.length - 1),
  command: fc.constantFrom(
    'join' as const,
    'join' as const,
    'join' as const,
    'activate' as const,
    'activate' as const,
    'activate' as const,
    'drain' as const,
    'leave' as const,
    'remove' as const,
    'weigh' as const,
    'configure' as const,
    'rules' as const,
    'tick' as const,
    'ask' as const,
  ),
  value: fc.nat(20),
});

const noiseStep = fc.record({
  kind: fc.constant('noise' as const),
  entryKind: fc.constantFrom('frame' as const, 'command' as const),
  bytes: fc.uint8Array({ maxLength: 20 }),
});

/** Mostly a little; now and then as long as flows may be idle, or an hour either way. */
const stepMs = fc.oneof(
  { arbitrary: fc.nat(60), weight: 20 },
  { arbitrary: fc.constantFrom(1_000, 900), weight: 4 },
  { arbitrary: fc.constantFrom(3_600_000, -3_600_000, -5), weight: 1 },
);

const captureMs = fc.oneof(
  { arbitrary: fc.nat(60), weight: 20 },
  { arbitrary: fc.constantFrom(31_000, 11_000, 200_000), weight: 2 },
  { arbitrary: fc.constantFrom(-3_600_000, 1e15, -1e15, 0.5), weight: 1 },
);

export const scripts: fc.Arbitrary<Script> = fc.record({
  rules: fc.record({
    typeOneMethod: fc.constantFrom('fig-6' as const, 'fig-7' as const, 'fig-7' as const),
    tableFirst: fc.boolean(),
    maxFlows: fc.constantFrom(256, 512, 1_280, 4_096, 1_000_000),
    time: fc.constantFrom('log' as const, 'capture' as const),
  }),
  placement: fc.constantFrom(
    'rendezvous' as const,
    'maglev' as const,
    'round-robin' as const,
    'weighted-round-robin' as const,
  ),
  steps: fc.array(
    fc.record({
      stepMs,
      captureMs,
      what: fc.oneof(
        { arbitrary: frameStep, weight: 12 },
        { arbitrary: commandStep, weight: 5 },
        { arbitrary: noiseStep, weight: 1 },
      ),
    }),
    { minLength: 5, maxLength: 150, size: 'max' },
  ),
});

/** The log of a script: an epoch, two members that are active, and then what the script says. */
export function logOf({ rules, placement, steps }: Script): TestLog {
  const adopts = rules.typeOneMethod === 'fig-7' && rules.tableFirst;
  const log = new TestLog({ ...rules, midFlow: adopts ? 'adopt' : 'ignore' }, placement);
  log.begin();
  for (const life of [lives[0], lives[2]]) {
    log.join(life);
    log.command(life, { kind: 'activate' });
  }
  let timestampMs = 1_000_000;
  const numbers = new Map<string, number>();
  for (const step of steps) {
    log.nowMs = Math.max(0, log.nowMs + step.stepMs);
    timestampMs += step.captureMs;
    const { what } = step;
    if (what.kind === 'noise') log.append(what.entryKind, what.bytes);
    else if (what.kind === 'command') appendCommand(log, what);
    else {
      const last = numbers.get(what.tier1Id) ?? 0;
      const number = Math.max(1, last + 1 + what.missing);
      log.frame(what.rows.flatMap(rowsOf), { tier1Id: what.tier1Id, timestampMs, number, follows: number - 1 });
      // What is missing stays so for a frame or two; then the tier 1 goes on behind the gap.
      numbers.set(what.tier1Id, what.missing > 0 ? last : Math.max(last, number));
    }
  }
  return log;
}

const { START, END, DATAGRAM, LATER_FRAGMENT, HANDSHAKE } = FrameFlags;
const flagsByKind = [syn, tcp, fin, udp, udp, gtp, gtp | START, gtp | END, tcp | HANDSHAKE, syn];

function rowsOf({ flow, kind, datagram }: FrameStep['rows'][number]): Row[] {
  const slice = usedSlices[flow % usedSlices.length];
  const hi = (slice << 24) | (Math.imul(flow, 0x9e_3779) & 0xff_ffff) | 0;
  const datagramHi = 0x7777_0000;
  if (kind === 10) return [{ flow: datagram, flags: LATER_FRAGMENT | udp, hi: datagramHi, bytes: 5 }];
  if (kind === 11)
    return [
      { flow: datagram, flags: DATAGRAM, hi: datagramHi },
      { flow, flags: udp, hi },
    ];
  return [{ flow, flags: flagsByKind[kind], hi }];
}

function appendCommand(log: TestLog, { author, other, command, value }: CommandStep): void {
  const by = lives[author];
  const life = lives[other];
  switch (command) {
    case 'join':
      log.join(by, 1 + value, by.incarnation === 2 && value % 2 === 0 ? 1 : undefined);
      return;
    case 'drain':
      log.command(by, { kind: command, life });
      return;
    case 'leave':
      log.command(by, { kind: command, life: value % 2 === 0 ? by : life });
      return;
    case 'remove':
      log.command(by, { kind: command, life, handled: 0 });
      return;
    case 'weigh':
      log.command(by, { kind: command, weights: new Map(lives.map(({ server }, index) => [server, index * value])) });
      return;
    case 'configure':
      log.command(by, { kind: command, life, weight: value });
      return;
    case 'rules':
      log.command(by, { kind: command, placement: undefined, rules: { maxFlows: 256 * (1 + (value % 4)) } });
      return;
    default:
      log.command(by, { kind: command });
  }
}
