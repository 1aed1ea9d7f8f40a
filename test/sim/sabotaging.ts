// What a sabotage is, and how a method is put in the place of another one.

import type { FaultKind } from './faults.ts';
import type { Plan } from './plan.ts';

export interface Sabotage {
  /** What is wrong, in a sentence. */
  readonly what: string;
  /** Seeds from 1 on within which a checker must catch it. */
  readonly caughtWithin: number;
  /** Faults that bring it out; default all. */
  readonly kinds?: readonly FaultKind[];
  /** The kind of cluster that brings it out. */
  readonly plan?: Partial<Plan>;
  apply(): () => void;
}

// biome-ignore lint/suspicious/noExplicitAny: a method of any class
export type Method = (...args: any[]) => any;
type Class = { readonly prototype: object };

export function replace(target: Class, name: string, method: Method): () => void {
  return wrap(target, name, () => method);
}

/** Puts another method in the place of one; returns how to put it back. */
export function wrap(target: Class, name: string, make: (original: Method) => Method): () => void {
  const methods = target.prototype as Record<string, Method>;
  const original = methods[name];
  if (typeof original !== 'function') throw new Error(`there is no method ${name} to sabotage`);
  methods[name] = make(original);
  return () => {
    methods[name] = original;
  };
}

/** All of them, and undone in reverse. */
export function together(...undos: (() => void)[]): () => void {
  return () => {
    for (const undo of undos.reverse()) undo();
  };
}
