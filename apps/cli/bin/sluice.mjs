#!/usr/bin/env node
// Plain JavaScript that old Node versions parse: its first task is to tell them apart.
import module from 'node:module';

const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  process.stderr.write(
    `sluice needs Node 24 or newer; this is Node ${process.versions.node}.\n` +
      'In the checkout of Sluice, run it as "npx sluice …": npm ci has brought Node 24 along, and npx uses it.\n' +
      'Elsewhere install Node 24: https://nodejs.org/en/download\n',
  );
  process.exitCode = 1;
} else {
  // Compiled code is kept between calls: about a third of the start-up time. Where it can't be, nothing changes.
  module.enableCompileCache();
  const { main } = await import('../src/main.ts');
  await main();
}
