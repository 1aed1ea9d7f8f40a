// Checks the checksums of a packet by the letter of the standards, without any of the code under test.

import assert from 'node:assert/strict';

/**
 * IP and what is in it, also in a GTP-U tunnel. `packet` begins with its IP header and ends where that says; a packet in
 * which a checksum or length is wrong fails the test.
 */
export function assertChecksums(packet: Uint8Array): void {
  const isIpv4 = packet[0]! >> 4 === 4;
  const header = isIpv4 ? (packet[0]! & 15) * 4 : 40;
  assert.equal(ipLength(packet), packet.length, 'the IP length is that of the packet');
  if (isIpv4) assert.equal(onesComplement(packet.subarray(0, header)), 0xffff, 'IPv4 header checksum');
  const protocol = packet[isIpv4 ? 9 : 6]!;
  const body = packet.subarray(header);
  const addresses = isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const pseudo = [body.length >> 8, body.length & 255, 0, protocol];
  if (protocol === 1) assert.equal(onesComplement(body), 0xffff, 'ICMP checksum');
  if ([6, 17, 33, 58].includes(protocol)) {
    assert.equal(onesComplement(addresses, pseudo, body), 0xffff, `checksum of protocol ${protocol}`);
  }
  if (protocol === 132) assertCrc(body);
  if (protocol !== 17) return;
  assert.equal(body[4]! * 256 + body[5]!, body.length, 'the UDP length is that of the datagram');
  if (body[2]! * 256 + body[3]! !== 2_152 || body[8] !== 0x30 || body[9] !== 255) return;
  assert.equal(body[10]! * 256 + body[11]!, body.length - 16, 'the GTP-U length is that of the user packet');
  assertChecksums(body.subarray(16));
}

/** The length that the IP header at the beginning of `packet` says. */
export function ipLength(packet: Uint8Array): number {
  return packet[0]! >> 4 === 4 ? packet[2]! * 256 + packet[3]! : 40 + packet[4]! * 256 + packet[5]!;
}

/** The one's complement sum of everything a checksum covers, by the letter of RFC 1071; 0xffff when it is right. */
function onesComplement(...parts: (Uint8Array | number[])[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      sum += i % 2 === 0 ? part[i]! * 256 : part[i]!;
      if (sum > 0xffff) sum -= 0xffff;
    }
  }
  return sum;
}

/** CRC32c bit by bit over an SCTP packet, its own field taken as zero (RFC 9260, appendix A). */
function assertCrc(packet: Uint8Array): void {
  let crc = 0xffff_ffff;
  for (let at = 0; at < packet.length; at++) {
    crc ^= at >= 8 && at < 12 ? 0 : packet[at]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  const field = packet[8]! | (packet[9]! << 8) | (packet[10]! << 16) | (packet[11]! << 24);
  assert.equal(field, ~crc, 'SCTP checksum');
}
