// The auditor: what it makes of packets that replicas accept, pass over or argue about, against replicas that say what they are told to.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noServer } from '../../../services/dssl/replica/flows/entry.ts';
import { noPacket, V, waiting } from '../../../services/dssl/replica/verdict.ts';
import { Auditor, nobodyCauses } from '../../../services/local/auditor.ts';
import { FrameFlags, SINGLE } from '../../../shared/flow/frameFlags.ts';
import { Frame, FrameBuilder } from '../../../shared/log/records/frame.ts';
import { defaultRules, emptyView, type Member, type View } from '../../../shared/membership/view.ts';

/** A packet of one-packet frames: a flow and its flags. */
interface Row {
  readonly flow: number;
  readonly flags?: number;
}

const START = FrameFlags.TYPE1 | FrameFlags.START;
const MID = FrameFlags.TYPE1;

function viewOf(number: number, ...members: readonly (readonly [server: string, state: Member['state']])[]): View {
  return {
    ...emptyView({ group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules }),
    number,
    members: members.map(([server, state], index) => {
      return { server, incarnation: 1, number: index, state, weight: 100, base: 100, flows: 0 };
    }),
  };
}

const both = viewOf(2, ['a', 'active'], ['b', 'active']);

/** A group of servers a and b, and a third one, c, that is no member. */
function start() {
  const clock = { ms: 0 };
  const auditor = new Auditor(1, () => clock.ms);
  const observers = { a: auditor.observer(0, 'a'), b: auditor.observer(0, 'b'), c: auditor.observer(0, 'c') };
  type Server = keyof typeof observers;
  const send = (number: number, rows: readonly Row[], life = 't') => {
    auditor.onSend(0, { life, number, packets: rows.length });
    const builder = new FrameBuilder();
    for (const { flow, flags = MID } of rows) builder.add(new Uint8Array(60), 0, 60, flow, 7, flags);
    const frame = new Frame();
    const header = { tier1Id: life, number, follows: number - 1, mapVersion: 1, timestampMs: 0 };
    assert.equal(frame.decode(Uint8Array.from(builder.finish(header))), 'none');
    return frame;
  };
  /** A replica applies a frame: a verdict, and an owner where it is known, for each row. */
  const apply = (server: Server, position: number, frame: Frame, verdicts: readonly number[], more: Applied = {}) => {
    const owners = Uint16Array.from(more.owners ?? verdicts.map(() => noServer));
    const replica = { position, view: more.view ?? both, timeMs: more.timeMs ?? 0 };
    observers[server](replica, { outcome: 'frame', frame, verdicts: Uint8Array.from(verdicts), owners, late: [] });
  };
  /** A later entry decides a row that has waited. */
  const decideLate = (server: Server, position: number, number: number, row: number, verdict: number) => {
    const late = [{ tier1Id: 't', number, row, verdict, owner: noServer }];
    const replica = { position, view: both, timeMs: 0 };
    const nothing = { verdicts: new Uint8Array(0), owners: new Uint16Array(0) };
    observers[server](replica, { outcome: 'command', frame: new Frame(), ...nothing, late });
  };
  const nobody = () =>
    Object.fromEntries(nobodyCauses.map((cause) => [cause, auditor.nobody[cause]]).filter(([, count]) => count !== 0));
  return { auditor, clock, send, apply, decideLate, nobody };
}

interface Applied {
  readonly owners?: readonly number[];
  readonly view?: View;
  readonly timeMs?: number;
}

describe('auditor', () => {
  it('auditor - counts packets by how many servers accepted them, once all replicas are past the frame', () => {
    const { auditor, send, apply, nobody } = start();
    const frame = send(1, [{ flow: 1 }, { flow: 2 }, { flow: 3 }]);
    apply('a', 10, frame, [V.acceptKnown, V.ignoreElsewhere, V.acceptNew]);
    auditor.settle(0, 9);
    assert.deepEqual([auditor.accepted, auditor.unsettled], [0, 3]);
    apply('b', 10, frame, [V.ignoreElsewhere, V.acceptKnown, V.acceptNew]);
    auditor.settle(0, 10);
    assert.deepEqual([auditor.accepted, auditor.double, auditor.unsettled], [2, 1, 0]);
    assert.deepEqual(nobody(), {});
  });

  it('auditor - a packet that nobody accepted has the cause that says most, or none', () => {
    const { auditor, send, apply, nobody } = start();
    const frame = send(
      1,
      [1, 2, 3, 4, 5, 6].map((flow) => ({ flow })),
    );
    const { ignoreMidFlow, ignoreAbsent, dropTableFull, ignorePlacedElsewhere, dropNoOwner, dropFragment } = V;
    apply('a', 1, frame, [ignoreMidFlow, noPacket, dropTableFull, dropNoOwner, dropFragment, ignorePlacedElsewhere]);
    apply('b', 1, frame, [
      ...[ignoreMidFlow, noPacket, ignorePlacedElsewhere, dropNoOwner, dropFragment, ignorePlacedElsewhere],
    ]);
    apply(
      'c',
      1,
      frame,
      Array.from({ length: 6 }, () => V.ignoreRemoved),
    );
    auditor.settle(0, 1);
    assert.deepEqual(nobody(), { midFlow: 1, tableFull: 1, noServer: 1, fragment: 1, unexplained: 2 });
    const partial = send(2, [{ flow: 7 }]);
    apply('a', 2, partial, [ignoreAbsent]);
    apply('b', 2, partial, [V.ignoreElsewhere]);
    auditor.settle(0, 2);
    assert.equal(auditor.nobody.skipped, 1, 'the owner lacked the slice');
  });

  it('auditor - what a member passed over may have been its own; one that joins owns nothing yet', () => {
    const { auditor, send, apply, nobody } = start();
    apply('a', 1, send(1, [{ flow: 1 }]), [V.ignoreElsewhere]);
    auditor.settle(0, 1);
    assert.deepEqual(nobody(), { skipped: 1 });
    const view = viewOf(3, ['a', 'active'], ['b', 'joining']);
    apply('a', 2, send(2, [{ flow: 1 }]), [V.ignoreElsewhere], { view });
    auditor.settle(0, 2);
    assert.deepEqual(nobody(), { skipped: 1, unexplained: 1 });
  });

  it('auditor - frames that the log did not take are not appended, whether tier 1 knows or a later frame shows it', () => {
    const { auditor, send, apply } = start();
    send(1, [{ flow: 1 }, { flow: 1 }]);
    auditor.onLost(0, { life: 't', number: 1, packets: 2 }, false);
    assert.deepEqual([auditor.notAppended, auditor.unsettled], [2, 0]);
    const kept = send(1, [{ flow: 1 }]);
    send(2, [{ flow: 1 }]);
    auditor.onLost(0, { life: 't', number: 1, packets: 1 }, true);
    auditor.onLost(0, { life: 't', number: 2, packets: 1 }, true);
    const last = send(3, [{ flow: 1 }]);
    for (const [position, frame] of [kept, last].entries()) {
      apply('a', position + 1, frame, [V.acceptKnown]);
      apply('b', position + 1, frame, [V.ignoreElsewhere]);
    }
    auditor.settle(0, 2);
    assert.deepEqual([auditor.accepted, auditor.notAppended, auditor.unsettled], [2, 3, 0]);
    assert.equal(auditor.appendedUnheard, 1, 'the one that tier 1 gave up and that is in the log');
    send(4, [{ flow: 1 }]);
    auditor.finish();
    assert.deepEqual([auditor.notAppended, auditor.unsettled], [4, 0]);
  });

  it('auditor - lives of a tier 1 number their frames anew', () => {
    const { auditor, send, apply } = start();
    const frames = [send(1, [{ flow: 1 }]), send(1, [{ flow: 1 }], 't.2')];
    for (const [index, frame] of frames.entries()) {
      apply('a', index + 1, frame, [V.acceptKnown]);
      apply('b', index + 1, frame, [V.ignoreElsewhere]);
      auditor.settle(0, index + 1);
    }
    assert.deepEqual([auditor.accepted, auditor.unsettled], [2, 0]);
  });

  it('auditor - a packet that waits keeps its frame open until all are past the entry that decides it', () => {
    const { auditor, send, apply, decideLate } = start();
    const frame = send(1, [{ flow: 1, flags: FrameFlags.LATER_FRAGMENT }]);
    const next = send(2, [{ flow: 2 }]);
    for (const server of ['a', 'b'] as const) {
      apply(server, 1, frame, [waiting]);
      apply(server, 2, next, [server === 'a' ? V.acceptNew : V.ignorePlacedElsewhere]);
    }
    auditor.settle(0, 2);
    assert.equal(auditor.accepted, 0);
    decideLate('b', 3, 1, 0, V.ignoreElsewhere);
    auditor.settle(0, 2);
    assert.equal(auditor.accepted, 0, 'a has still to say');
    decideLate('a', 3, 1, 0, V.acceptKnown);
    auditor.settle(0, 3);
    assert.deepEqual([auditor.accepted, auditor.unsettled], [2, 0]);
    apply('a', 4, send(3, [{ flow: 1, flags: FrameFlags.LATER_FRAGMENT }]), [waiting]);
    auditor.finish();
    assert.equal(auditor.nobody.fragment, 1, 'it waits for ever');
  });

  it('auditor - replicas that name different owners are counted; one that knows none is not', () => {
    const { auditor, send, apply } = start();
    const frame = send(1, [{ flow: 1 }, { flow: 2 }, { flow: 3 }]);
    apply('a', 1, frame, [V.acceptKnown, V.ignoreAbsent, V.acceptKnown], { owners: [0, noServer, 0] });
    apply('b', 1, frame, [V.ignoreElsewhere, V.acceptKnown, V.ignoreElsewhere], { owners: [0, 1, 2] });
    apply('c', 1, frame, [V.ignoreRemoved, V.ignoreRemoved, V.ignoreRemoved], { owners: [0, 2, noServer] });
    assert.equal(auditor.disagreements, 2);
  });

  it('auditor - a flow that changes its server is a violation, unless that has gone or the flow is another one', () => {
    const { auditor, send, apply } = start();
    let number = 0;
    const accept = (server: 'a' | 'b', flags: number, more: Applied = {}) => {
      number++;
      apply(server, number, send(number, [{ flow: 5, flags }]), [V.acceptKnown], more);
      auditor.settle(0, number);
      return [auditor.flows.seen, auditor.flows.moved];
    };
    assert.deepEqual(accept('a', START), [1, 0]);
    assert.deepEqual(accept('a', MID), [1, 0]);
    assert.deepEqual(accept('b', MID), [1, 1]);
    assert.match(auditor.flows.stories[0], /moved from a to b/);
    assert.deepEqual(accept('a', MID, { view: viewOf(3, ['a', 'active']) }), [1, 1], 'b has gone');
    assert.deepEqual(accept('b', START, { timeMs: 9_000 }), [1, 2]);
    assert.deepEqual(accept('a', START, { timeMs: 20_000 }), [2, 2], 'a start, long after the first');
    assert.deepEqual(accept('b', MID, { timeMs: 3_000_000 }), [3, 2], 'silent for longer than any limit');
    assert.deepEqual(accept('b', MID | FrameFlags.END, { timeMs: 3_000_000 }), [3, 2]);
    assert.deepEqual(accept('a', START, { timeMs: 3_000_100 }), [4, 2], 'the flow had ended');
  });

  it('auditor - packets that are flows of their own are no flow that moves, whatever their hashes', () => {
    const { auditor, send, apply } = start();
    for (const [number, server] of (['a', 'b', 'a'] as const).entries()) {
      apply(server, number + 1, send(number + 1, [{ flow: 5, flags: SINGLE }]), [V.acceptSingle]);
    }
    auditor.settle(0, 3);
    assert.deepEqual([auditor.accepted, auditor.double, auditor.flows.seen, auditor.flows.moved], [3, 0, 0, 0]);
  });

  it('auditor - latency is from the moment that tier 1 sends a frame to the moment that its owner has it', () => {
    const { auditor, clock, send, apply } = start();
    const frame = send(1, [{ flow: 1 }, { flow: 2 }]);
    clock.ms = 8;
    apply('b', 1, frame, [V.ignoreElsewhere, V.ignoreElsewhere]);
    clock.ms = 16;
    apply('a', 1, frame, [V.acceptKnown, V.acceptKnown]);
    assert.equal(auditor.latencyMs.total, 2);
    assert.ok(Math.abs(auditor.latencyMs.percentile(0.5) - 16) < 2);
  });
});
