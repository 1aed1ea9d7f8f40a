// GTP control messages (3GPP TS 29.060 for versions 0 and 1, 29.274 for version 2): where a mobile session begins and ends.
import { u16 } from '../bytes.ts';

export const GtpPort = { CONTROL: 2123, VERSION_0: 3386 } as const;

/** What a control message means to the session it belongs to. */
export const GtpMessage = { NOT_CONTROL: -1, OTHER: 0, CREATE: 1, DELETE: 2 } as const;

/**
 * Reads the message at `offset`, which has `length` bytes by its UDP header. Both ports lie where old systems take their
 * ephemeral ports from, so a message counts only if its version and length are right. Version 0 sends user data by the
 * same port; it counts as OTHER, so that a flow is of one type.
 */
export function readGtpControl(buffer: Uint8Array, offset: number, end: number, length: number): number {
  // A message that was cut off is taken for what its port says.
  if (end - offset < 4) return GtpMessage.OTHER;
  const flags = buffer[offset];
  const type = buffer[offset + 1];
  const version = flags >> 5;
  if (version === 2) {
    if (u16(buffer, offset + 2) + 4 > length) return GtpMessage.NOT_CONTROL;
    return type === 32 ? GtpMessage.CREATE : type === 36 ? GtpMessage.DELETE : GtpMessage.OTHER;
  }
  // The protocol type bit tells GTP from GTP', the charging protocol.
  if (version > 1 || (flags & 0x10) === 0) return GtpMessage.NOT_CONTROL;
  const headerLength = version === 0 ? 20 : 8;
  if (u16(buffer, offset + 2) + headerLength > length) return GtpMessage.NOT_CONTROL;
  return type === 16 ? GtpMessage.CREATE : type === 20 ? GtpMessage.DELETE : GtpMessage.OTHER;
}
