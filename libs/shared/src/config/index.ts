export * from './load.ts';
export * from './neighbour-variables.ts';
export * from './secret.ts';
