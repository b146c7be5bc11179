#!/usr/bin/env node
import '../../../tools/require-node.mjs';
import module from 'node:module';

// Caches the stripped TypeScript: a second start is some 300 ms faster.
module.enableCompileCache();
await import('../src/main.ts');
