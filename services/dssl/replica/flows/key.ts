// A flow's hash as one number, for maps that hold few flows and are rarely asked.

/** 52 bits of the 64: enough to tell thousands of flows apart, and a number that is exact. */
export function flowKey(hi: number, lo: number): number {
  return (hi >>> 12) * 0x1_0000_0000 + (lo >>> 0);
}
