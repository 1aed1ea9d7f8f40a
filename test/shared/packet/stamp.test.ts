// The generator's stamp: what is written is read, and nothing else is taken for one.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readStamp, stampBytes, writeStamp } from '../../../shared/packet/stamp.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('stamp', () => {
  it('stamp - what is written behind a packet is read from its end', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 100 }), u32, u32, u32, (packet, run, id, flow) => {
      const stamped = new Uint8Array(packet.length + stampBytes + 3);
      stamped.set(packet);
      writeStamp(stamped, packet.length, run, id, flow);
      const stamp = { run: 0, id: 0, flow: 0 };
      assert.ok(readStamp(stamped, 0, packet.length + stampBytes, stamp));
      assert.deepEqual(stamp, { run, id, flow });
    });
    fc.assert(property);
  });

  it('stamp - bytes as they stand in the drawing', () => {
    const stamped = new Uint8Array(stampBytes);
    writeStamp(stamped, 0, 1, 0x0203, 0xffff_fffe);
    assert.equal(Buffer.from(stamped).toString('hex'), `${'46487374'}${'00000001'}${'00000203'}${'fffffffe'}`);
  });

  it('stamp - a packet without one, or too short for one, has none', () => {
    const stamp = { run: 7, id: 7, flow: 7 };
    const stamped = new Uint8Array(stampBytes + 1);
    writeStamp(stamped, 0, 1, 2, 3);
    assert.equal(readStamp(stamped, 0, stampBytes + 1, stamp), false, 'one byte behind it');
    assert.equal(readStamp(stamped, 1, stampBytes, stamp), false, 'its packet begins later');
    assert.equal(readStamp(stamped.subarray(0, 8), 0, stampBytes, stamp), false, 'cut off');
    assert.deepEqual(stamp, { run: 7, id: 7, flow: 7 });
  });
});
