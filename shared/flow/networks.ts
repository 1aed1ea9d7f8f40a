// The subscribers' address ranges, compared word by word with addresses in a packet.
import { parseAddress } from '../packet/addressText.ts';
import { i32 } from '../packet/bytes.ts';

/** A list of IPv4 and IPv6 networks. Lookups go through the whole list and allocate nothing. */
export class Networks {
  /** Address and mask words, alternating: two numbers a network for IPv4, eight for IPv6. */
  readonly #version4: Int32Array;
  readonly #version6: Int32Array;

  /** `list` holds networks such as '10.0.0.0/8' or '2001:db8::/32'; a bare address is a network of one. Throws an Error. */
  constructor(list: readonly string[]) {
    const version4: number[] = [];
    const version6: number[] = [];
    for (const text of list) {
      const [address, lengthText, extra] = text.split('/');
      const bytes = addressBytes(address);
      const bits = lengthText === undefined ? bytes.length * 8 : /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : -1;
      if (bytes.length === 0 || extra !== undefined || bits < 0 || bits > bytes.length * 8) {
        throw new Error(`'${text}' is not a network such as 10.0.0.0/8 or 2001:db8::/32`);
      }
      const words = bytes.length === 4 ? version4 : version6;
      for (let offset = 0; offset < bytes.length; offset += 4) {
        const covered = Math.min(32, Math.max(0, bits - offset * 8));
        const mask = covered === 0 ? 0 : -1 << (32 - covered);
        words.push(i32(bytes, offset) & mask, mask);
      }
    }
    this.#version4 = Int32Array.from(version4);
    this.#version6 = Int32Array.from(version6);
  }

  /** Whether the address of IP `version` at `offset` lies in one of the networks. */
  has(buffer: Uint8Array, offset: number, version: number): boolean {
    if (version === 4) {
      const address = i32(buffer, offset);
      const words = this.#version4;
      for (let at = 0; at < words.length; at += 2) if ((address & words[at + 1]) === words[at]) return true;
      return false;
    }
    const words = this.#version6;
    for (let at = 0; at < words.length; at += 8) {
      let word = 0;
      while (word < 4 && (i32(buffer, offset + word * 4) & words[at + word * 2 + 1]) === words[at + word * 2]) word++;
      if (word === 4) return true;
    }
    return false;
  }
}

/** Empty for text that is no address. */
function addressBytes(text: string): Uint8Array {
  try {
    return parseAddress(text);
  } catch {
    return new Uint8Array(0);
  }
}
