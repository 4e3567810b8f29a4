/**
 * Loaded into every thread of the service (`--import`): puts another text index in the place of its own. Which one is in the query of this
 * module's address, so that it reaches the worker threads, which are started with the options of their process.
 */
import { registerHooks } from 'node:module';

const [, replacement = ''] = /replace\.ts\?(.*)$/.exec(import.meta.url) ?? [];
const url = new URL(`./${replacement}`, import.meta.url).href;

registerHooks({
  resolve: (specifier, context, nextResolve) =>
    (/\/text-index\/(?:text-index|candidates)\.[jt]s$/.test(specifier) ? { url, shortCircuit: true } : nextResolve(specifier, context)),
});
