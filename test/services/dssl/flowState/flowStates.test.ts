// States of flows beside one replica: whose messages are taken, when an answer counts, and what is in a state already when a dead server's packets come again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StateWay } from '../../../../services/dssl/egress/handlers/handler.ts';
import { EntryWriter } from '../../../../services/dssl/flowState/entries.ts';
import { FlowStates } from '../../../../services/dssl/flowState/flowStates.ts';
import { handOut } from '../../../../services/dssl/handOut.ts';
import type { PeerMessage, States } from '../../../../services/dssl/recovery/messages.ts';
import type { Replica } from '../../../../services/dssl/replica/replica.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { writtenKeeper } from '../../../support/writtenKeeper.ts';
import { fin, firstEpoch, hiOf, lifeOf, otherSide, syn, TestGroup, tcp } from '../replica/support.ts';

/** Two members: a, and b, which stands behind a's flows and is looked at. */
class Case {
  readonly group: TestGroup;
  readonly live = writtenKeeper();
  readonly shadow = writtenKeeper();
  readonly sent: PeerMessage[] = [];
  readonly states: FlowStates;
  lineage = 1;

  constructor(way: StateWay) {
    this.group = new TestGroup(2, { availability: 'active-active' });
    const kept = { way, live: this.live, shadow: this.shadow };
    this.states = new FlowStates(lifeOf('b'), {
      kept,
      egress: this.live,
      goesOn: () => false,
      toPeer: (_server, message) => this.sent.push(message),
    });
    this.replica.standBehind(this.states);
    this.group.command('a', { kind: 'tick' });
  }

  get replica(): Replica {
    return this.group.replica('b');
  }

  catchUp(): void {
    this.group.catchUp((server, effects) => {
      if (server !== 'b') return;
      this.states.at(this.replica, this.lineage);
      const place = { epoch: 1, position: this.replica.position };
      handOut(effects, this.live, undefined, { isAgain: false, states: this.states, place });
      this.states.onApplied(effects);
    });
  }

  send(flow: number, flags: number): void {
    this.group.log.nowMs++;
    this.group.log.frame([{ flow, flags }]);
    this.catchUp();
  }

  remove(handled: number): void {
    this.group.log.command(lifeOf('b'), { kind: 'remove', life: lifeOf('a'), handled });
    this.catchUp();
  }

  /** The first flow that a owns. */
  flowOfA(from = 0): number {
    for (let flow = from; ; flow++) {
      this.send(flow, syn);
      if (this.shadow.calls.includes(`+${flow} new`) || this.states.stateAt(hiOf(flow), flow) !== undefined)
        return flow;
    }
  }

  answer(flow: number, text: string, fields: Partial<States> = {}): void {
    const writer = new EntryWriter();
    writer.add(hiOf(flow), flow, Buffer.from(text));
    const [bytes] = writer.finish();
    const { position } = this.replica;
    const common = { kind: 'states', ...lifeOf('a'), nonce: 1, epoch: firstEpoch, position, upTo: -1 } as const;
    this.states.onPeer({ ...common, chunk: 0, chunks: 1, bytes, ...fields }, 0);
  }
}

test('flow states - what a dead server had been given since its flow began is in the state, also of a flow that is over', () => {
  const one = new Case('shadow');
  const flow = one.flowOfA();
  one.send(flow, tcp);
  const { position } = one.replica;
  // Both sides end it, and it begins anew: at whichever server, the former flow is over.
  for (const flags of [fin, fin | otherSide]) one.send(flow, flags);
  assert.ok(!one.states.isInState(hiOf(flow), flow, position));
  one.send(flow, syn);
  one.live.calls.length = 0;
  one.remove(1);
  // Its hash is that of another flow by now, whose state has nothing of it.
  assert.ok(one.states.isInState(hiOf(flow), flow, position));
  one.states.settle();
  assert.equal(one.states.counters.finished, 1);
  assert.deepEqual(one.live.calls, [`+${flow} promoted`, `load ${flow} 1`, `-${flow} closed`]);
  assert.ok(!one.states.isInState(hiOf(flow), flow, position));
});

test('flow states - a flow that goes on has in its state what came up to the removal, while that is replayed', () => {
  const one = new Case('shadow');
  const flow = one.flowOfA();
  one.remove(1);
  const { position } = one.replica;
  one.states.promote(hiOf(flow), flow);
  assert.ok(one.states.isInState(hiOf(flow), flow, position));
  assert.ok(!one.states.isInState(hiOf(flow), flow, position + 1));
  one.states.settle();
  assert.ok(!one.states.isInState(hiOf(flow), flow, position));
  assert.deepEqual([one.states.counters.warm, one.states.counters.cold], [1, 0]);
  one.states.promote(hiOf(flow + 1), flow + 1);
  assert.equal(one.states.counters.cold, 1);
});

test('flow states - an answer counts when all of it is here, of an owner that is a member, and of this epoch', () => {
  const one = new Case('checkpoint');
  const flow = one.flowOfA();
  const { position } = one.replica;
  const at = () => one.states.stateAt(hiOf(flow), flow);
  const before = at();
  one.answer(flow, 'x', { epoch: 'another' });
  one.answer(flow, 'x', { server: 'nobody' });
  one.answer(flow, 'x', { incarnation: 9 });
  assert.equal(at(), before);
  one.answer(flow, 'x');
  assert.equal(at(), position);
  one.answer(flow, 'x', { upTo: position + 5, chunk: 0, chunks: 2 });
  one.answer(flow, 'x', { upTo: position + 5, chunk: 1, chunks: 2, nonce: 2 });
  assert.equal(at(), position);
  one.answer(flow, 'x', { upTo: position + 5, chunk: 0, chunks: 2, nonce: 2 });
  assert.equal(at(), position + 5);
  one.answer(flow, 'x', { bytes: Uint8Array.of(1, 2, 3) });
  assert.equal(one.states.counters.badMessages, 1);
});

test('flow states - where a flow is over already, a state that comes is for nothing', () => {
  const one = new Case('checkpoint');
  const flow = one.flowOfA();
  one.answer(flow + 10_000, 'x');
  assert.equal(one.states.stateAt(hiOf(flow + 10_000), flow + 10_000), undefined);
  assert.equal(one.states.behind.size, 1);
});

test('flow states - on another line of the log nothing that was kept is trusted', () => {
  const one = new Case('shadow');
  const flow = one.flowOfA();
  one.lineage = 2;
  one.send(flow, tcp);
  assert.ok(one.shadow.calls.includes(`drop ${flow}`));
  one.states.tick(0);
  const [want] = one.sent;
  assert.ok(want.kind === 'want' && want.flows.length === 2 && want.position === one.replica.position);
});

test('flow states - an owner answers for its own flows, at the position that is asked for, and for those that have changed', () => {
  const one = new Case('checkpoint');
  let flow = 0;
  while (!one.live.calls.includes(`+${flow} new`)) one.send(++flow, syn);
  const { position } = one.replica;
  const asked = { kind: 'want', ...lifeOf('a'), nonce: 7, epoch: firstEpoch } as const;
  const flows = Int32Array.of(hiOf(flow), flow, hiOf(flow + 100), flow + 100);
  one.states.onPeer({ ...asked, position: position + 1, since: -1, flows }, 0);
  assert.equal(one.sent.length, 0);
  one.send(flow, tcp);
  const [first] = one.sent.splice(0);
  assert.ok(first.kind === 'states' && first.upTo === -1 && first.position === position + 1);
  assert.deepEqual(
    [first.bytes.length, one.live.calls.filter((call) => call.startsWith('save'))],
    [25, [`save ${flow}`]],
  );
  const none = new Int32Array(0);
  one.states.onPeer({ ...asked, position, since: position, flows: none }, 0);
  one.states.onPeer({ ...asked, position, since: position + 1, flows: none }, 0);
  one.states.onPeer({ ...asked, ...lifeOf('nobody'), position, since: 0, flows: none }, 0);
  const lengths = one.sent.map((message) => (message.kind === 'states' ? [message.bytes.length, message.upTo] : []));
  assert.deepEqual(lengths, [
    [13, position + 1],
    [0, position + 1],
  ]);
});

test('flow states - an answer is bounded: it says how far it reaches', () => {
  const one = new Case('checkpoint');
  one.live.saveFlow = () => new Uint8Array(limits.flowStateBytes);
  const own: number[] = [];
  for (let flow = 0; own.length < limits.flowStatesAnswerBytes / limits.flowStateBytes + 3; flow++) {
    one.send(flow, syn);
    if (one.live.calls.includes(`+${flow} new`)) own.push(one.replica.position);
  }
  const want = {
    kind: 'want',
    ...lifeOf('a'),
    nonce: 7,
    epoch: firstEpoch,
    position: 1,
    flows: new Int32Array(0),
  } as const;
  one.states.onPeer({ ...want, since: 0 }, 0);
  const upTo = one.sent[0].kind === 'states' ? one.sent[0].upTo : 0;
  assert.equal(upTo, own[own.length - 3] - 1);
  one.sent.length = 0;
  one.states.onPeer({ ...want, since: upTo }, 0);
  assert.equal(one.sent[0].kind === 'states' && one.sent[0].upTo, one.replica.position);
  assert.equal(one.states.owned.counters.sent, own.length);
  one.live.saveFlow = () => new Uint8Array(limits.flowStateBytes + 1);
  one.states.onPeer({ ...want, since: upTo }, 0);
  assert.equal(one.states.owned.counters.tooLong, 3);
});
