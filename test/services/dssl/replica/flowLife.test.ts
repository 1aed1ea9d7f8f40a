// When a flow has ended: by hand, and by connections that two hosts make up as TCP lets them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstState, hasEnded, isRestart, nextState } from '../../../../services/dssl/replica/flowLife.ts';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { FrameFlags, ProtocolClass, protocolClassShift, RESET } from '../../../../shared/flow/frameFlags.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { fin, gtp, otherSide, rst, syn, TestGroup, tcp } from './support.ts';

const sctp = FrameFlags.TYPE1 | (ProtocolClass.SCTP << protocolClassShift);
const synAck = tcp | FrameFlags.HANDSHAKE | otherSide;

const after = (...packets: readonly number[]): FlowState =>
  packets.slice(1).reduce<FlowState>((state, flags) => nextState(state, flags), firstState(packets[0]));

test('flow life - a connection by hand', () => {
  const { established, unconfirmed, closing, halfClosedByFirst, halfClosedBySecond, resetByFirst, resetBySecond } =
    FlowState;
  const cases: readonly (readonly [FlowState, ...number[]])[] = [
    [unconfirmed, syn],
    [unconfirmed, syn, synAck, syn],
    [established, syn, synAck, tcp],
    [halfClosedByFirst, syn, synAck, tcp, fin],
    [halfClosedByFirst, syn, synAck, tcp, fin, tcp, tcp | otherSide, fin],
    [halfClosedBySecond, syn, tcp, fin | otherSide],
    [closing, syn, tcp, fin, fin | otherSide],
    [closing, syn, tcp, fin | otherSide, fin, tcp, tcp | otherSide, fin, rst],
    [resetByFirst, syn, tcp, rst],
    [resetBySecond, syn, rst | otherSide],
    [resetBySecond, syn, tcp, fin, rst | otherSide],
    [resetByFirst, syn, tcp, rst, tcp | otherSide, fin | otherSide, rst | otherSide],
    [established, syn, tcp, rst, tcp],
    [established, syn, tcp, rst | otherSide, tcp, tcp | otherSide],
    [halfClosedByFirst, syn, tcp, rst, fin],
    [resetByFirst, syn, tcp, rst, tcp | FrameFlags.HANDSHAKE],
    [halfClosedByFirst, fin],
    [resetByFirst, rst],
    [closing, sctp | FrameFlags.START, sctp, sctp | FrameFlags.END],
    [resetBySecond, sctp | FrameFlags.START, sctp, sctp | RESET | otherSide],
    [established, gtp, gtp | FrameFlags.END],
    [established, gtp, gtp | FrameFlags.START],
  ];
  for (const [expected, ...packets] of cases) assert.equal(after(...packets), expected, packets.join());
});

test('flow life - a start is that of another flow where the last one has ended, or its sender had ended its side', () => {
  const restarts = (start: number, ...packets: readonly number[]) => isRestart(after(...packets), start);
  assert.equal(restarts(syn, syn), false);
  assert.equal(restarts(syn, syn, tcp), false);
  assert.equal(restarts(syn, syn, tcp, fin), true);
  assert.equal(restarts(syn | otherSide, syn, tcp, fin), false);
  assert.equal(restarts(syn | otherSide, syn, tcp, fin, fin | otherSide), true);
  assert.equal(restarts(syn, syn, tcp, rst | otherSide), true);
  assert.equal(restarts(tcp, syn, tcp, rst), false);
  assert.equal(restarts(gtp | FrameFlags.START, syn, tcp, rst), false);
});

/** What a host does next. Idle times are below the limit of the state in which the connection is. */
const step = fc.record({
  side: fc.constantFrom(0, otherSide),
  kind: fc.constantFrom('data', 'data', 'data', 'fin', 'keepalive', 'strayReset', 'icmp', 'idle', 'start'),
  part: fc.double({ min: 0, max: 0.98, noNaN: true }),
});

test("flow life - no packet of a living connection is nobody's, whatever two hosts and strangers do", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.constantFrom({}, { typeOneMethod: 'fig-6' } as const),
      (steps, rules) => {
        const group = new TestGroup(3, rules);
        const home = group.owner({ flow: 7, flags: syn });
        const accepted = (flags: number) => assert.equal(group.owner({ flow: 7, flags }), home);
        accepted(synAck);
        accepted(tcp);
        const finished = new Set<number>();
        let reset = false;
        for (const { side, kind, part } of steps) {
          const limit = reset ? 'tcp-reset' : finished.size === 1 ? 'tcp-half-closed' : 'tcp-established';
          if (kind === 'idle') group.pass(Math.floor(1_000 * part * defaultIdle[limit]));
          else if (kind === 'strayReset') {
            accepted(rst | side);
            reset = true;
          } else if (kind === 'icmp') accepted(tcp | FrameFlags.HANDSHAKE | side);
          else if (kind === 'start' && !reset && finished.size === 0) accepted(syn | side);
          else if (kind === 'fin') {
            accepted(fin | side);
            finished.add(side);
            // Both hosts talk on, and so show that no reset was one.
          } else accepted(tcp | side);
          if (['data', 'keepalive'].includes(kind) && reset) {
            accepted(tcp | (side ^ otherSide));
            reset = false;
          }
          if (finished.size === 2) break;
        }
      },
    ),
    { numRuns: 300, seed: 11 },
  );
});

test('flow life - what has ended stays ended, and nothing but a packet of its own side takes a reset back', () => {
  const flags = fc.constantFrom(
    ...[tcp, fin, rst, tcp | FrameFlags.HANDSHAKE].flatMap((each) => [each, each | otherSide]),
  );
  fc.assert(
    fc.property(fc.array(flags, { maxLength: 20 }), (packets) => {
      assert.equal(hasEnded(after(syn, tcp, fin, fin | otherSide, ...packets)), true);
      const ofOther = packets.map((each) => each | otherSide);
      assert.equal(hasEnded(after(syn, tcp, rst, ...ofOther)), true);
    }),
  );
});
