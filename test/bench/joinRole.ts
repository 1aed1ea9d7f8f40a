// A member of the benchmark of joining in a process of its own: the parent calls its methods by messages (RemoteMember),
// one at a time.

import { type ChildProcess, fork } from 'node:child_process';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { type JoinMember, LocalMember } from './joinMember.ts';

type Method = keyof JoinMember;
type Call = { readonly method: Method; readonly argument: number | undefined };
type Answer = { readonly value: unknown } | { readonly error: string };

export class RemoteMember implements JoinMember {
  readonly #child: ChildProcess;
  #settle: { resolve: (value: unknown) => void; reject: (error: Error) => void } | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (answer: Answer) => {
      if ('error' in answer) this.#settle?.reject(new Error(answer.error));
      else this.#settle?.resolve(answer.value);
    });
    child.on('exit', (code, signal) => this.#settle?.reject(new Error(`a member ended with ${code ?? signal}`)));
  }

  /** A process whose member is connected, and has not joined yet. */
  static async connect(name: string, cluster: string, url: string): Promise<RemoteMember> {
    const child = fork(new URL(import.meta.url), [name, cluster, url], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    const member = new RemoteMember(child);
    // The child speaks first, when it is ready.
    await new Promise<unknown>((resolve, reject) => {
      member.#settle = { resolve, reject };
    });
    return member;
  }

  join(): Promise<number> {
    return this.#call('join') as Promise<number>;
  }

  fill(viewNumber: number): Promise<number> {
    return this.#call('fill', viewNumber) as Promise<number>;
  }

  async watch(): Promise<void> {
    await this.#call('watch');
  }

  pauseMs(): Promise<number> {
    return this.#call('pauseMs') as Promise<number>;
  }

  owners(): Promise<Readonly<Record<string, number>>> {
    return this.#call('owners') as Promise<Readonly<Record<string, number>>>;
  }

  async stop(): Promise<void> {
    this.#settle = undefined;
    this.#child.kill('SIGKILL');
  }

  #call(method: Method, argument?: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#child.send({ method, argument } satisfies Call);
    });
  }
}

async function serve(send: (answer: Answer) => void): Promise<void> {
  const [name, cluster, url] = process.argv.slice(2);
  const connect = () => connectNats({ url, name: `flowherd bench ${name}`, storage: 'memory' });
  const member: JoinMember = await LocalMember.connect(name, cluster, connect);
  process.on('message', ({ method, argument }: Call) => {
    const work: Promise<unknown> = method === 'fill' ? member.fill(argument ?? 0) : member[method]();
    work.then(
      (value) => send({ value }),
      (error: unknown) => send({ error: error instanceof Error ? error.message : String(error) }),
    );
  });
  // The parent is gone: so is the reason to be here.
  process.on('disconnect', () => process.exit(0));
  send({ value: 'ready' });
}

if (import.meta.main) await serve((answer) => void process.send?.(answer));
