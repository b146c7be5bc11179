#!/usr/bin/env node
import '../../../tools/require-node.mjs';

const [option, ...others] = process.argv.slice(2);
if (others.length > 0 || (option !== undefined && option !== '--keep')) {
  process.stdout.write(
    'Usage: npm run demo [-- --keep]\n\nPlays the examples on a server of its own; --keep leaves it running until Ctrl-C.\n',
  );
  process.exit(option === '--help' ? 0 : 2);
}
await import('../src/demo/main.ts');
