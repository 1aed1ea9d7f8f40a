// SipHash-2-4 against its reference vectors and the rows that another balancer publishes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Hash64, sipHash24 } from '../../../shared/hash/sipHash.ts';

// The reference implementation's vectors_sip64: key 00 01 .. 0f, message 00 01 .. of 0 to 63 bytes, result bytes in
// order.
const vectors = `
  310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785
  b7877127e09427cf 8da699cd64557618 cee3fe586e46c9cb 37d1018bf50002ab
  6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4
  fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1
  db9bc2577fcc2a3f 9447be2cf5e99a69 9cd38d96f0b3c14b bd6179a71dc96dbb
  98eea21af25cd6be c7673b2eb0cbf2d0 883ea3e395675393 c8ce5ccd8c030ca8
  94af49f6c650adb8 eab8858ade92e1bc f315bb5bb835d817 adcf6b0763612e2f
  a5c91da7acaa4dde 716595876650a2a6 28ef495c53a387ad 42c341d8fa92d832
  ce7cf2722f512771 e37859f94623f3a7 381205bb1ab0e012 ae97a10fd434e015
  b4a31508beff4d31 81396229f0907902 4d0cf49ee5d4dcca 5c73336a76d8bf9a
  d0a704536ba93e0e 925958fcd6420cad a915c29bc8067318 952b79f3bc0aa6d4
  f21df2e41d4535f9 87577519048f53a9 10a56cf5dfcd9adb eb75095ccd986cd0
  51a9cb9ecba312e6 96afadfc2ce666c7 72fe52975a4364ee 5a1645b276d592a1
  b274cb8ebf87870a 6f9bb4203de7b381 eaecb2a30b22a87f 9924a43cc1315724
  bd838d3aafbf8db7 0b1a2a3265d51aea 135079a3231ce660 932b2846e4d70666
  e1915f5cb1eca46c f325965ca16d629f 575ff28e60381be5 724506eb4c328a95
`
  .trim()
  .split(/\s+/);

test('siphash - the reference vectors', () => {
  const key = Uint8Array.from({ length: 16 }, (_, index) => index);
  assert.equal(vectors.length, 64);
  for (const [length, expected] of vectors.entries()) {
    const message = Uint8Array.from({ length }, (_, index) => index);
    assert.equal(inOrder(sipHash24(key, message)).toString('hex'), expected, `${length} bytes`);
  }
});

test('siphash - a key of another length is refused', () => {
  assert.throws(() => sipHash24(new Uint8Array(15), new Uint8Array()), RangeError);
});

// The rows of GLB's forwarding table: row seed = hash(row number, big-endian), hosts sorted by hash(row seed, address).
const glbKey = Buffer.from('49a3d861d661ae5ab06ed9326871a2f5', 'hex');

for (const { row, seed, order } of [
  { row: 0x0000, seed: '491c53a72df4c837', order: [4, 3, 2, 1] },
  { row: 0xffff, seed: 'f223c0cc65161620', order: [1, 2, 4, 3] },
  { row: 0xbb44, seed: 'e290f8f430eb33d3', order: [4, 1, 2, 3] },
]) {
  test(`siphash - row ${row.toString(16).padStart(4, '0')} of GLB's forwarding table`, () => {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(row);
    const rowSeed = inOrder(sipHash24(glbKey, number));
    assert.equal(rowSeed.toString('hex'), seed);
    const score = (host: number) => inOrder(sipHash24(glbKey, Buffer.concat([rowSeed, Buffer.from([1, 1, 1, host])])));
    assert.deepEqual(
      [1, 2, 3, 4].sort((a, b) => score(a).compare(score(b))),
      order,
    );
  });
}

function inOrder({ hi, lo }: Hash64): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(lo, 0);
  bytes.writeUInt32LE(hi, 4);
  return bytes;
}
