#!/usr/bin/env node
import '../../../tools/require-node.mjs';
import module from 'node:module';

module.enableCompileCache();
await import('../src/main.ts');
