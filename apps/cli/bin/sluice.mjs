#!/usr/bin/env node
// Plain JavaScript that old Node versions parse: its first task is to tell them apart.
import module from 'node:module';
import path from 'node:path';

const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  process.stderr.write(
    `sluice needs Node 24 or newer; this is Node ${process.versions.node}.\n` +
      'In the checkout of Sluice run it as "npx sluice …": npm ci has brought Node 24 along, and npx uses it.\n' +
      'Elsewhere install Node 24: https://nodejs.org/en/download\n',
  );
  process.exitCode = 1;
} else {
  // Compiled code is kept between calls: 60 ms to start instead of 150. In a folder of the user's own, not in /tmp as is Node's default:
  // what lies there is run. Where it can't be kept nothing changes but the time.
  const caches = process.env.XDG_CACHE_HOME || (process.env.HOME && path.join(process.env.HOME, '.cache'));
  if (caches) module.enableCompileCache(path.join(caches, 'sluice', 'compiled'));
  const { main } = await import('../src/main.ts');
  await main();
}
