// What the NATS client says when something fails, in our words, and the addresses it may be given.

import { errorCodes, FlowherdError, reasonOf } from '../../base/errors.ts';

/** The server addresses in `url`. Throws `bad-config` for what is not one, and for passwords in it. */
export function serversOf(url: string): string[] {
  const servers = url.split(',').map((one) => one.trim());
  for (const server of servers) {
    const match = /^(nats|tls):\/\/([^/@]*@)?([^/@]+)\/?$/.exec(server);
    if (match === null || !URL.canParse(server.replace(/^\w+/, 'http'))) {
      throw new FlowherdError(errorCodes.badConfig, `not a NATS address: "${shown(server)}" (nats://host:port is)`);
    }
    if (match[2] !== undefined) {
      const text = `the address ${shown(server)} contains a login: give it through the environment, where "ps" does not show it`;
      throw new FlowherdError(errorCodes.badConfig, text);
    }
  }
  return servers;
}

/** Why connecting failed, where trying again would not help; else undefined. */
export function finalError(error: unknown, where: string): FlowherdError | undefined {
  switch (codeOf(error)) {
    case 'AUTHORIZATION_VIOLATION':
    case 'AUTHENTICATION_EXPIRED':
    case 'AUTHENTICATION_TIMEOUT':
    case 'BAD_AUTHENTICATION': {
      const text = `the NATS server at ${where} refused the login (${causeInWords(error)}): check user, password, token, key or credentials`;
      return new FlowherdError(errorCodes.busRefused, text, error);
    }
    case 'BAD_CREDS': {
      const text = 'the credentials are not those of a NATS user: a .creds file holds a token and a seed';
      return new FlowherdError(errorCodes.badConfig, text, error);
    }
    default: {
      const fault = tlsFaultOf(error);
      const text = `no TLS with the NATS server at ${where}: ${fault}`;
      return fault === undefined ? undefined : new FlowherdError(errorCodes.busRefused, text, error);
    }
  }
}

/**
 * Why TLS with a server that answered cannot be, and what to do; undefined when the error is about something else. Trying
 * again does not help: a certificate does not become right by itself.
 */
function tlsFaultOf(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === 'SERVER_OPT_NA') {
    return 'it offers none. Turn TLS on there, or use a nats:// address without NATS_CA_FILE and NATS_CERT_FILE';
  }
  const reason = reasonOf(error);
  if (/^(UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_)|^ERR_TLS_CERT_ALTNAME/.test(code)) {
    return `its certificate is not accepted (${reason}). Name the authority that signed it in NATS_CA_FILE`;
  }
  if (/^ERR_(OSSL|SSL|TLS)/.test(code)) {
    return `${reason}. Check NATS_CA_FILE, NATS_CERT_FILE and NATS_KEY_FILE`;
  }
  return undefined;
}

/** A library error as one of ours; `doing` names the subject or operation for people. */
export function asBusError(error: unknown, doing: string): FlowherdError {
  if (error instanceof FlowherdError) return error;
  switch (codeOf(error)) {
    case 'TIMEOUT':
      return new FlowherdError(errorCodes.busTimeout, `no answer in time to ${doing}`, error);
    case '503':
      return new FlowherdError(
        errorCodes.storeUnavailable,
        `nobody answers to ${doing}: is JetStream on? Start the server with "nats-server -js"`,
        error,
      );
    case 'PERMISSIONS_VIOLATION':
      return new FlowherdError(errorCodes.busRefused, `this connection is not permitted to use ${doing}`, error);
    case 'MAX_PAYLOAD_EXCEEDED':
      return new FlowherdError(errorCodes.messageTooBig, `too big for the server: ${doing}`, error);
    case 'CONNECTION_CLOSED':
    case 'CONNECTION_DRAINING':
      return new FlowherdError(errorCodes.busClosed, `the connection is closed: ${doing}`, error);
    case 'DISCONNECT':
    case 'CANCELLED':
      return new FlowherdError(errorCodes.busDisconnected, `the connection went down during ${doing}`, error);
    default:
      return new FlowherdError(errorCodes.storeFailed, `${doing} failed: ${reasonOf(error)}`, error);
  }
}

/** Why connecting failed, for people: the client says CONNECTION_REFUSED, people say it in small letters. */
export function causeInWords(error: unknown): string {
  const text = reasonOf(error);
  return /^[A-Z0-9_]+$/.test(text) ? text.toLowerCase().replaceAll('_', ' ') : text;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function shown(server: string): string {
  return server.replace(/[^/]*@/, '***@');
}
