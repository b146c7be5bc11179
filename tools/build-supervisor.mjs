#!/usr/bin/env node
// Makes the supervisor of pods one file: `node tools/build-supervisor.mjs [folder]`. What a pod never uses (the usual logger, metrics, the Docker client) is not in it.
import { fileURLToPath } from 'node:url';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = resolve(process.argv[2] ?? join(root, 'dist', 'supervisor'));
const result = await build({
  entryPoints: [join(root, 'services/supervisor/src/main.ts')],
  outfile: join(folder, 'supervisor.cjs'),
  bundle: true,
  minify: true,
  keepNames: false,
  // Importing `node:http` as a module reads all of its names, and so loads Node's `fetch`: 15 MB and 50 ms. `require` does not.
  format: 'cjs',
  platform: 'node',
  target: 'node24',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
  plugins: [{ name: 'without-telemetry', setup: leaveOutTelemetry }],
});
const [[path, { bytes, inputs }]] = Object.entries(result.metafile.outputs);
process.stdout.write(`${path}: ${bytes} bytes\n`);
if (process.env.SLUICE_BUILD_DETAILS) {
  const packages = new Map();
  for (const [name, { bytesInOutput }] of Object.entries(inputs)) {
    const of = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1] ?? 'sluice';
    packages.set(of, (packages.get(of) ?? 0) + bytesInOutput);
  }
  for (const [of, size] of [...packages].sort((a, b) => b[1] - a[1]))
    process.stdout.write(`  ${of} ${size}\n`);
}

/**
 * Metrics and traces are a server's. The names stay, since code that is never reached in a pod has them; what is loaded on demand would make half of the modules be
 * set up on demand, too.
 */
function leaveOutTelemetry({ onResolve, onLoad }) {
  onResolve({ filter: /^prom-client$|tracing-otlp\.ts$/ }, ({ path }) => ({ path, namespace: 'none' }));
  onLoad({ filter: /.*/, namespace: 'none' }, () => ({
    contents:
      'export const Counter = undefined, Gauge = undefined, Histogram = undefined, Registry = undefined;',
  }));
}
