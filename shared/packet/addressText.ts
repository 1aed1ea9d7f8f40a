// Addresses as people write them, in both directions. For configuration, tests and reports; never per packet.

/** 4 or 6. Throws on text that is neither address. */
export function addressFamily(text: string): 4 | 6 {
  return parseAddress(text).length === 4 ? 4 : 6;
}

/**
 * The 4 bytes of `192.0.2.1` or the 16 of `2001:db8::1` (RFC 4291, also with a dotted tail). Throws on anything else.
 */
export function parseAddress(text: string): Uint8Array {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  if (bytes === undefined) throw new Error(`not an IP address: ${text}`);
  return bytes;
}

/** The 6 bytes of `02:00:5e:10:00:01`. Throws on anything else. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new Error(`not a MAC address: ${text}`);
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** Address bytes as text, IPv6 in the short form of RFC 5952. The length of the range decides: 4 or 16 bytes. */
export function formatAddress(data: Uint8Array, from = 0, to = data.length): string {
  if (to - from === 4) return `${data[from]}.${data[from + 1]}.${data[from + 2]}.${data[from + 3]}`;
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((data[from + 2 * i]! << 8) | data[from + 2 * i + 1]!).toString(16),
  );
  let best = 0;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === '0') length++;
    if (length > bestLength) {
      best = start;
      bestLength = length;
    }
  }
  if (bestLength === 1) return groups.join(':');
  return `${groups.slice(0, best).join(':')}::${groups.slice(best + bestLength).join(':')}`;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const left = parseGroups(halves[0]!, halves.length === 1);
  const right = parseGroups(halves[1] ?? '', true);
  if (left === undefined || right === undefined) return undefined;
  const missing = 16 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...left, ...new Array<number>(missing).fill(0), ...right]);
}

function parseGroups(text: string, tail: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [i, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >>> 8, value & 0xff);
      continue;
    }
    const dotted = tail && i === groups.length - 1 ? parseIpv4(group) : undefined;
    if (dotted === undefined) return undefined;
    bytes.push(...dotted);
  }
  return bytes;
}
