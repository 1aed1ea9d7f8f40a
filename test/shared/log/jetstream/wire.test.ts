// What JetStream writes on the line: the forms that are documented, and any text at all.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { kindOf } from '../../../../shared/log/jetstream/stream.ts';
import { errorReason, ReplyReader, stampOf, storedPosition, tokenOf } from '../../../../shared/log/jetstream/wire.ts';

const text = (value: string): Uint8Array => Buffer.from(value);

describe('JetStream on the line', () => {
  it('wire - where an entry stands, in all three forms', () => {
    const tail = '1.9001.42.1764512345678000042.17';
    for (const reply of [
      `$JS.ACK.fh_c_g.consumer.${tail}`,
      `$JS.ACK.domain.account.fh_c_g.consumer.${tail}`,
      `$JS.ACK._.account.fh_c_g.consumer.${tail}.token`,
    ]) {
      const reader = new ReplyReader();
      for (let again = 0; again < 2; again++) {
        assert.equal(reader.read(reply), true, reply);
        const { position, sequence, timeMs, timeNs, pending } = reader;
        assert.deepEqual([position, sequence, timeMs, timeNs, pending], [9_001, 42, 1_764_512_345_678, 42, 17]);
      }
    }
  });

  it('wire - names, numbers and times of any length', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
        fc.nat(),
        fc.nat(),
        fc.bigInt(10n ** 18n, 2n * 10n ** 18n),
        fc.nat(),
        (name, position, sequence, time, pending) => {
          const reply = `$JS.ACK.${name}.c.1.${position + 1}.${sequence + 1}.${time}.${pending}`;
          const reader = new ReplyReader();
          assert.equal(reader.read(reply) && reader.read(reply), true);
          assert.deepEqual([reader.position, reader.sequence, reader.pending], [position + 1, sequence + 1, pending]);
          assert.equal(BigInt(reader.timeMs) * 1_000_000n + BigInt(reader.timeNs), time);
        },
      ),
    );
  });

  it('wire - what is no such subject is refused, and nothing throws', () => {
    const tokens = fc.array(fc.constantFrom('$JS', 'ACK', 'a', '1', '', '-1', '1764512345678000042', 'x'), {
      maxLength: 13,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          tokens.map((all) => all.join('.')),
        ),
        (reply) => {
          new ReplyReader().read(reply);
        },
      ),
    );
    for (const reply of [
      '',
      '$JS.FC.fh_c_g.x.1',
      '$JS.ACK.s.c.1.0.1.1764512345678000042.0',
      '$JS.ACK.s.c.1.1.x.1764512345678000042.0',
      '$JS.ACK.s.c.1.1.1.12.0',
      '$JS.ACK.s.c.1.1.1.1764512345678000042',
    ])
      assert.equal(new ReplyReader().read(reply), false, reply);
  });

  it('wire - what became of an append', () => {
    assert.equal(storedPosition(text('{"stream":"fh_c_g","seq":42}')), 42);
    assert.equal(
      storedPosition(text('{"stream":"fh_c_g", "domain":"d", "seq":9007199254740, "duplicate":true}')),
      9_007_199_254_740,
    );
    const refusal = text('{"error":{"code":503,"err_code":10077,"description":"too much"},"stream":"s","seq":5}');
    assert.deepEqual([storedPosition(refusal), errorReason(refusal)], [0, 'too much (JetStream 10077)']);
    assert.equal(errorReason(text('{"error":{"code":500}}')), 'no description (JetStream 500)');
    for (const odd of ['', '{}', '{"seq":}', 'seq":5', '{"seq":"5"}', '{"seq":99999999999999999999}', '\0\0'])
      assert.deepEqual([storedPosition(text(odd)), errorReason(text(odd))], [0, ''], odd);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        storedPosition(bytes);
        errorReason(bytes);
      }),
    );
  });

  it('wire - tokens, kinds and stamps', () => {
    assert.deepEqual([tokenOf('_INBOX.a.17', 9), tokenOf('_INBOX.a.', 9), tokenOf('_INBOX.a.1x', 9)], [17, -1, -1]);
    const kinds = ['fh.c.log.g.frame', 'fh.c.log.g.command', 'fh.c.log.g.xframe', 'frame', 'fh.c.log.g.to', ''];
    assert.deepEqual(kinds.map(kindOf), ['frame', 'command', undefined, undefined, undefined, undefined]);
    const at = Date.parse('2026-11-30T16:05:11Z');
    assert.deepEqual(stampOf('2026-11-30T16:05:11.123456789Z'), { timeMs: at + 123, timeNs: 456_789 });
    assert.deepEqual(stampOf('2026-11-30T16:05:11.1Z'), { timeMs: at + 100, timeNs: 0 });
    assert.deepEqual(stampOf('2026-11-30T17:05:11+01:00'), { timeMs: at, timeNs: 0 });
    for (const odd of ['', 'now', '2026-13-40T99:99:99Z', '2026-11-30T16:05:11.1234567890Z'])
      assert.equal(stampOf(odd), undefined, odd);
  });
});
