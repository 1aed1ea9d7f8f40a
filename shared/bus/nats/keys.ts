// Keys by which users of a NATS server log in (NATS calls them nkeys: Ed25519). The seed stays with the user; the server is told
// the public half and asks for a signature, so neither its configuration nor the wire ever carries a secret.

import { nkeys } from 'nats';
import { errorCodes, FlowherdError, reasonOf } from '../../base/errors.ts';

/** The seed of a new user's key. */
export function makeUserSeed(): string {
  return new TextDecoder().decode(nkeys.createUser().getSeed());
}

/** The public half of the user's key that `seed` makes. Throws `bad-file` when it is no such seed. */
export function publicKeyOf(seed: string): string {
  try {
    const key = nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
    if (key.startsWith('U')) return key;
  } catch (error) {
    throw new FlowherdError(errorCodes.badFile, `not the seed of a NATS key (${reasonOf(error)})`, error);
  }
  throw new FlowherdError(errorCodes.badFile, "the seed of a NATS key, but not of a user's");
}
