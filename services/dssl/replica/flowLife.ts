// How a flow's state follows from its packets: when it is established, and when it has ended.
//
//                  any packet that confirms                FIN of the other side
//   unconfirmed ──────────────────────────► established ─► half-closed ─► closing
//        │                                   │ FIN     ▲        │
//        │ RST                               │ RST     │        │ RST
//        └──────────────► reset ◄────────────┴─────────┼────────┘
//                          └───────────────────────────┘ a packet of the side that has reset it
//
// A connection has ended when both sides have said so (RFC 9293 section 3.6). One side alone may go on sending for hours. A RST may be
// false: its sequence number is not looked at here, and whoever it is for may have ignored it. So a flow that was reset is
// kept for a while, and when the side that is said to have reset it sends something else, it had not. What comes from the other
// side was under way, and shows nothing.
//
// A start on a tuple whose flow has ended is a new flow, placed by the present view (RFC 6191 for TCP): `isRestart`.

import { FrameFlags, ProtocolClass, protocolClassShift, RESET } from '../../../shared/flow/frameFlags.ts';
import { FlowState } from './flows/entry.ts';

const { START, END, AGGREGATE, HANDSHAKE, SIDE } = FrameFlags;

/** The state of a flow after a packet with these flags. */
export function nextState(state: FlowState, flags: number): FlowState {
  if (flags & AGGREGATE) return state === FlowState.unconfirmed ? FlowState.established : state;
  if (state === FlowState.closing) return state;
  const isSecond = (flags & SIDE) !== 0;
  if ((flags & RESET) === RESET) {
    return isReset(state) ? state : isSecond ? FlowState.resetBySecond : FlowState.resetByFirst;
  }
  if (isReset(state)) {
    const bySecond = state === FlowState.resetBySecond;
    if ((flags & (HANDSHAKE | START)) !== 0 || bySecond !== isSecond) return state;
  }
  if (flags & END) {
    // SCTP knows no half-closed state: its last chunk comes when both sides are done (RFC 9260 section 9.2).
    if (flags >>> protocolClassShift === ProtocolClass.SCTP) return FlowState.closing;
    const own = isSecond ? FlowState.halfClosedBySecond : FlowState.halfClosedByFirst;
    return isHalfClosed(state) && state !== own ? FlowState.closing : own;
  }
  const confirms = (flags & (HANDSHAKE | START)) === 0;
  return confirms && !isHalfClosed(state) ? FlowState.established : state;
}

/** Whether a packet with these flags starts another flow than the one that is known in this state. */
export function isRestart(state: FlowState, flags: number): boolean {
  if ((flags & (START | AGGREGATE)) !== START) return false;
  // Who has ended its side may use its port again; the other side may not.
  if (isHalfClosed(state)) return ((flags & SIDE) !== 0) === (state === FlowState.halfClosedBySecond);
  return hasEnded(state);
}

/** Both sides have ended it, or it was reset and nothing has shown since that this is false. */
export function hasEnded(state: FlowState): boolean {
  return state === FlowState.closing || isReset(state);
}

/** The state in which a flow begins with a packet of these flags. */
export function firstState(flags: number): FlowState {
  return (flags & (END | AGGREGATE)) === END ? nextState(FlowState.unconfirmed, flags) : FlowState.unconfirmed;
}

export function isReset(state: FlowState): boolean {
  return state === FlowState.resetByFirst || state === FlowState.resetBySecond;
}

export function isHalfClosed(state: FlowState): boolean {
  return state === FlowState.halfClosedByFirst || state === FlowState.halfClosedBySecond;
}
