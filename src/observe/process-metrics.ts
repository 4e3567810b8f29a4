import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Registry } from './prometheus.ts';

const NANOSECONDS = 1e9;
const EVENT_LOOP_RESOLUTION_MS = 10;
/** As long as Prometheus waits between two scrapes by default, so that none misses a peak. */
const EVENT_LOOP_WINDOW_MS = 60_000;

/**
 * Adds the process and Node.js figures under the names that dashboards expect
 * (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics, and prom-client's for Node.js).
 * Returns a function that refreshes what has to be read asynchronously; call it before each scrape.
 */
export function exposeProcess(registry: Registry): () => Promise<void> {
  let files: ProcFigures = {};
  registry.counterOf('process_cpu_seconds_total', 'User and system CPU time spent.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const startedAt = Date.now() / 1000 - process.uptime();
  registry.gauge('process_start_time_seconds', 'When the process started.', () => startedAt);
  registry.gauge('process_resident_memory_bytes', 'Resident memory.', readResidentBytes);
  registry.gauge('process_virtual_memory_bytes', 'Virtual memory.', () => files.virtualMemoryBytes);
  registry.gauge('process_open_fds', 'Open file descriptors.', () => files.openFiles);
  registry.gauge('process_max_fds', 'Most file descriptors that may be open.', () => files.maxOpenFiles);
  exposeNode(registry);
  return async () => {
    files = await readProcFigures();
  };
}

function exposeNode(registry: Registry): void {
  const delay = watchEventLoopDelay();
  const seconds = (nanoseconds: number) => (Number.isNaN(nanoseconds) ? 0 : nanoseconds / NANOSECONDS);
  registry.gauge('nodejs_eventloop_lag_mean_seconds', 'Mean event-loop delay of the last one to two minutes.', () => seconds(delay().mean));
  registry.gauge('nodejs_eventloop_lag_p99_seconds', '99th percentile of the event-loop delay of the last one to two minutes.',
    () => seconds(delay().percentile(99)));
  registry.gauge('nodejs_eventloop_lag_max_seconds', 'Largest event-loop delay of the last one to two minutes.',
    () => seconds(delay().max));
  const heap = getHeapStatistics;
  registry.gauge('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.', () => heap().total_heap_size);
  registry.gauge('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap.', () => heap().used_heap_size);
  registry.gauge('nodejs_external_memory_bytes', 'Memory of objects outside the JavaScript heap.', () => heap().external_memory);
  const [major = '', minor = '', patch = ''] = process.versions.node.split('.');
  registry.gauge('nodejs_version_info', 'Version of Node.js; always 1.', () => 1, { version: process.version, major, minor, patch });
}

/**
 * The event-loop delay of the last one to two windows: of two histograms that count the same, the one reset longer ago. Both are reset
 * by the clock and by nobody who asks, so that all who do see the same, and a peak is there for a whole window.
 */
function watchEventLoopDelay() {
  const start = () => {
    const histogram = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
    histogram.enable();
    return histogram;
  };
  let [older, newer] = [start(), start()];
  setInterval(() => {
    older.reset();
    [older, newer] = [newer, older];
  }, EVENT_LOOP_WINDOW_MS).unref();
  return () => older;
}

/** Node.js opens a file to find out, which fails where no descriptor is left. */
function readResidentBytes(): number | undefined {
  try {
    return process.memoryUsage.rss();
  } catch {
    return undefined;
  }
}

interface ProcFigures {
  readonly openFiles?: number;
  readonly maxOpenFiles?: number;
  readonly virtualMemoryBytes?: number;
}

/** Figures of Linux's /proc (proc(5)); empty where there is none. */
async function readProcFigures(): Promise<ProcFigures> {
  try {
    const [descriptors, limits, status] = await Promise.all([
      readdir('/proc/self/fd'), readFile('/proc/self/limits', 'utf8'), readFile('/proc/self/status', 'utf8'),
    ]);
    return {
      openFiles: descriptors.length,
      maxOpenFiles: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? NaN),
      virtualMemoryBytes: Number(/^VmSize:\s+(\d+) kB/m.exec(status)?.[1] ?? NaN) * 1024,
    };
  } catch {
    return {};
  }
}
