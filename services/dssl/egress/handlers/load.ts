// From what users write after `--handler` to a handler: a shipped name, a file, or a package.

import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { errorCodes, FlowherdError, reasonOf } from '../../../../shared/base/errors.ts';
import counting from '../counting.ts';
import flowStats from './flowStats.ts';
import type { HandlerFactory, ServerContext, ServerHandler } from './handler.ts';
import pcapWriter from './pcapWriter.ts';

/** Handlers that come with the product, by name. */
export const shippedHandlers: Readonly<Record<string, HandlerFactory>> = {
  counting,
  'flow-stats': flowStats,
  pcap: pcapWriter,
};

/**
 * Makes the handler that `name` means: a shipped name; a path, which begins with `.` or `/` or ends in `.ts`, `.js`,
 * `.mts` or `.mjs` and is relative to `directory`; or a package that can be found from there. The handler is not
 * started yet. Rejects with FlowherdError bad-config or bad-file and one line that says what is wrong.
 */
export async function loadHandler(name: string, directory: string, context: ServerContext): Promise<ServerHandler> {
  const create = await findHandler(name, directory);
  let handler: ServerHandler;
  try {
    handler = await create(context);
  } catch (error) {
    if (error instanceof FlowherdError) throw error;
    throw new FlowherdError(errorCodes.badConfig, `handler ${name} could not be made: ${reasonOf(error)}`, error);
  }
  if (typeof handler?.onPackets !== 'function') {
    throw new FlowherdError(
      errorCodes.badConfig,
      `handler ${name}: its factory returned no object with an onPackets function`,
    );
  }
  checkState(name, handler);
  return handler;
}

/** A handler that says its state outlives it must be able to give it away and to take it. */
function checkState(name: string, handler: ServerHandler): void {
  const { state } = handler;
  if (state === undefined) return;
  if (state !== 'shadow' && state !== 'checkpoint')
    throw new FlowherdError(
      errorCodes.badConfig,
      `handler ${name}: its state is '${state}', not 'shadow' or 'checkpoint'`,
    );
  for (const needed of ['saveFlow', 'loadFlow', 'dropFlow'] as const) {
    if (typeof handler[needed] === 'function') continue;
    throw new FlowherdError(errorCodes.badConfig, `handler ${name}: its state is '${state}', so it needs ${needed}`);
  }
}

/** The factory that `name` means, not called yet. Rejects as `loadHandler` does. */
export async function findHandler(name: string, directory: string): Promise<HandlerFactory> {
  return shippedHandlers[name] ?? (await loadFactory(name, directory));
}

async function loadFactory(name: string, directory: string): Promise<HandlerFactory> {
  const isPath = /^[./]|\.[mc]?[jt]s$/.test(name);
  const url = isPath ? urlOfFile(name, directory) : urlOfPackage(name, directory);
  let module: { default?: unknown };
  try {
    module = (await import(url)) as { default?: unknown };
  } catch (error) {
    throw new FlowherdError(errorCodes.badFile, `handler ${name} could not be loaded: ${reasonOf(error)}`, error);
  }
  if (typeof module.default !== 'function') {
    throw new FlowherdError(errorCodes.badFile, `handler ${name} has no default export that is a function`);
  }
  return module.default as HandlerFactory;
}

function urlOfFile(name: string, directory: string): string {
  const path = resolve(directory, name);
  if (!existsSync(path) || !statSync(path).isFile()) {
    throw new FlowherdError(errorCodes.badFile, `handler ${name}: there is no file ${path}`);
  }
  return pathToFileURL(path).href;
}

function urlOfPackage(name: string, directory: string): string {
  try {
    return pathToFileURL(createRequire(join(resolve(directory), 'handler.js')).resolve(name)).href;
  } catch (error) {
    const shipped = Object.keys(shippedHandlers).join(', ');
    const message = `handler ${name}: neither a shipped handler (${shipped}) nor a package found from ${directory}; a file is written ./${name}.ts`;
    throw new FlowherdError(errorCodes.badConfig, message, error);
  }
}
