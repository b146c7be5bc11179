#!/usr/bin/env node
import '../../../tools/require-node.mjs';
import module from 'node:module';

if (process.argv.length > 2) {
  process.stdout.write(
    'Usage: npm start\n\nStarts the server. It has no options: variables set it, and docs/operation.md lists them (SLUICE_DATA, OSCAR_SERVICE_PORT, …).\n',
  );
  process.exit(process.argv[2] === '--help' ? 0 : 2);
}
// Caches the stripped TypeScript: the next start is some 300 ms faster and 20 MB smaller. Written soon after the start, since
// otherwise only an orderly end would write it.
module.enableCompileCache();
setTimeout(() => module.flushCompileCache(), 3000).unref();
await import('../src/main.ts');
