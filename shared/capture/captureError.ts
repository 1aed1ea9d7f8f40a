// The one error that capture files raise: the file cannot be opened, is no capture at all, or cannot be written. What goes
// wrong later, inside a capture, is no error but the `problem` of its summary, because the packets before it are good.

import { errorCodes, FlowherdError } from '../base/errors.ts';

/** Why a capture could not be opened, or written. */
export const CaptureFault = {
  missing: 'missing',
  unreadable: 'unreadable',
  notACapture: 'not-a-capture',
  unsupported: 'unsupported',
  unwritable: 'unwritable',
} as const;
export type CaptureFault = (typeof CaptureFault)[keyof typeof CaptureFault];

/** `message` is one line for people that names the file, `fault` says what is wrong with it. The code is 'io-failed' for a
 * file that cannot be written, 'bad-file' otherwise. */
export class CaptureError extends FlowherdError {
  readonly fault: CaptureFault;

  constructor(fault: CaptureFault, message: string, cause?: unknown) {
    super(fault === CaptureFault.unwritable ? errorCodes.ioFailed : errorCodes.badFile, message, cause);
    this.name = 'CaptureError';
    this.fault = fault;
  }
}

/** What an error of the operating system says in plain words, without its code and path. */
export function plainReason(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  switch (code) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission is denied';
    case 'EISDIR':
      return 'it is a directory';
    case 'ENOSPC':
      return 'the disk is full';
    default:
      return String(message ?? error)
        .replace(/\s+/g, ' ')
        .slice(0, 200);
  }
}
