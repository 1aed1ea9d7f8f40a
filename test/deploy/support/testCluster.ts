// A cluster of containers as docker-compose.yml makes one: the same images, volumes and rights, in a network of its own. Tests
// start and end its members one by one.

import { GenericContainer, Wait } from 'testcontainers';
import { dockerode, projectRoot, removeLabelled, testLabels } from './docker.ts';
import { Member } from './member.ts';

const readers = ['nats', 'tier1', 'dssl', 'cli', 'admin'] as const;
type Reader = (typeof readers)[number];

/** The images that the tests build, those of Compose among them. */
export const testImages = {
  tier1: 'flowherd-tier1:test',
  dssl: 'flowherd-dssl:test',
  cli: 'flowherd-cli:test',
  nats: 'flowherd-nats:test',
} as const;

/** Builds the images, which takes a moment the first time. */
export async function buildImages(): Promise<void> {
  const keep = { deleteOnExit: false };
  for (const target of ['tier1', 'dssl', 'cli'] as const) {
    const builder = GenericContainer.fromDockerfile(projectRoot, 'deploy/Dockerfile').withTarget(target);
    await builder.build(testImages[target], keep);
  }
  await GenericContainer.fromDockerfile(`${projectRoot}/deploy/nats`).build(testImages.nats, keep);
}

let clusters = 0;

export class TestCluster {
  readonly members: Member[] = [];
  readonly #labels: Readonly<Record<string, string>>;
  /** Names of its own, so that clusters do not meet. */
  readonly #prefix: string;
  readonly #endWithUs = (): void => removeLabelled(this.#labels);

  private constructor(prefix: string) {
    this.#prefix = prefix;
    this.#labels = { ...testLabels, 'flowherd.cluster': prefix };
    // A test file that dies must not leave containers behind.
    process.once('exit', this.#endWithUs);
  }

  /** Builds the images, makes the keys, starts NATS, and makes the cluster with the options of `flowherd init`. */
  static async start(initOptions: readonly string[]): Promise<TestCluster> {
    await buildImages();
    const cluster = new TestCluster(`flowherd-test-${process.pid}-${++clusters}`);
    try {
      const docker = await dockerode();
      const Labels = { ...cluster.#labels };
      await docker.createNetwork({ Name: cluster.#prefix, Labels });
      for (const name of [...readers.map((reader) => `keys-${reader}`), 'data']) {
        await docker.createVolume({ Name: cluster.#volume(name), Labels });
      }
      await cluster.#makeKeys();
      await cluster.startNats();
      await cluster.#once('cluster', 'admin', ['init', ...initOptions]);
      return cluster;
    } catch (error) {
      cluster.stop();
      throw error;
    }
  }

  /** Resolves when the NATS server is healthy. */
  startNats(): Promise<Member> {
    const container = this.#container(testImages.nats)
      .withCommand(['--name', 'nats'])
      .withNetworkMode(this.#prefix)
      .withNetworkAliases('nats')
      .withBindMounts([this.#keysOf('nats', '/etc/nats/keys/nats'), { source: this.#volume('data'), target: '/data' }])
      .withHealthCheck({
        test: ['CMD', 'wget', '-q', '--spider', 'http://127.0.0.1:8222/healthz'],
        interval: 250,
        timeout: 3_000,
        retries: 100,
      })
      .withWaitStrategy(Wait.forHealthCheck());
    return this.#start('nats', container);
  }

  /** A server named `name`; resolves when it answers for its health, which is before it is a member. */
  startServer(name: string, options: readonly string[]): Promise<Member> {
    return this.#service(name, 'dssl', ['--server', name, ...options]);
  }

  /** A tier 1. `files` are copied into the container, from paths of the project to paths there. */
  startTier1(name: string, options: readonly string[], files: Readonly<Record<string, string>> = {}): Promise<Member> {
    return this.#service(name, 'tier1', ['--name', name, ...options], files);
  }

  /** Starts `flowherd traffic` with these options and the key of the tools; resolves when its packets are on their way. */
  async startTraffic(name: string, options: readonly string[]): Promise<Member> {
    const container = this.#role(testImages.cli, 'cli')
      .withCommand(['traffic', '--json', ...options])
      .withWaitStrategy(Wait.forLogMessage(/^sending packets/));
    return this.#start(name, container);
  }

  /** Runs a command of the command line to its end with the key of the tools; resolves to its member. */
  runTool(name: string, command: readonly string[]): Promise<Member> {
    return this.#once(name, 'cli', command);
  }

  /** What is in a file of a volume of keys; read by the one who may: root, in a container of its own. */
  async keyFile(reader: Reader, file: string): Promise<string> {
    const container = this.#container(testImages.cli)
      .withEntrypoint(['cat'])
      .withCommand([`/keys/${file}`])
      .withUser('0:0')
      .withNetworkMode('none')
      .withBindMounts([this.#keysOf(reader, '/keys')])
      .withWaitStrategy(Wait.forOneShotStartup());
    const member = await Member.start(`cat ${file}`, container);
    return (await member.says(/./)).msg ?? '';
  }

  stop(): void {
    process.off('exit', this.#endWithUs);
    removeLabelled(this.#labels);
  }

  async #makeKeys(): Promise<void> {
    const container = this.#container(testImages.cli)
      .withCommand(['keys', '--dir', '/keys', '--gid', '10001'])
      .withUser('0:0')
      .withAddedCapabilities('CHOWN')
      .withNetworkMode('none')
      .withBindMounts(
        readers.map((reader) => ({
          source: this.#volume(`keys-${reader}`),
          target: `/keys/${reader}`,
          mode: 'rw' as const,
        })),
      )
      .withWaitStrategy(Wait.forOneShotStartup());
    await this.#start('keys', container);
  }

  #once(name: string, role: 'cli' | 'admin', command: readonly string[]): Promise<Member> {
    const container = this.#role(testImages.cli, role)
      .withCommand([...command])
      .withWaitStrategy(Wait.forOneShotStartup());
    return this.#start(name, container);
  }

  #service(
    name: string,
    role: 'tier1' | 'dssl',
    command: readonly string[],
    files: Readonly<Record<string, string>> = {},
  ): Promise<Member> {
    const container = this.#role(testImages[role], role)
      .withHostname(name)
      .withCommand([...command])
      .withCopyFilesToContainer(
        Object.entries(files).map(([source, target]) => ({ source: `${projectRoot}/${source}`, target, mode: 0o444 })),
      )
      .withWaitStrategy(Wait.forLogMessage(/answering/));
    return this.#start(name, container);
  }

  #role(image: string, role: 'tier1' | 'dssl' | 'cli' | 'admin'): GenericContainer {
    return this.#container(image)
      .withNetworkMode(this.#prefix)
      .withEnvironment({
        FLOWHERD_BUS: 'nats://nats:4222',
        NATS_NKEY_FILE: '/run/flowherd/nats.nk',
        ...(role === 'cli' ? {} : { FLOWHERD_SECRET_FILE: '/run/flowherd/secret' }),
      })
      .withBindMounts([this.#keysOf(role, '/run/flowherd')]);
  }

  #container(image: string): GenericContainer {
    return new GenericContainer(image)
      .withLabels({ ...this.#labels })
      .withDroppedCapabilities('ALL')
      .withSecurityOpt('no-new-privileges:true')
      .withStartupTimeout(60_000);
  }

  #volume(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #keysOf(reader: Reader, target: string) {
    return { source: this.#volume(`keys-${reader}`), target, mode: 'ro' as const };
  }

  async #start(name: string, container: GenericContainer): Promise<Member> {
    const member = await Member.start(name, container);
    this.members.push(member);
    return member;
  }
}
