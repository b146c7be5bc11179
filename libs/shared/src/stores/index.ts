export * from './definition-store.ts';
export * from './leases.ts';
export * from './object-key.ts';
export * from './object-store.ts';
export * from './object-upkeep.ts';
export * from './run-ledger.ts';
export * from './run-logs.ts';
export * from './settings.ts';
