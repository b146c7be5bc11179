export { createSqliteBus, type BusLimits, type SqliteBusOptions } from './sqlite-bus.ts';
export { openDatabase, type Database, type DatabaseOptions } from './sqlite-database.ts';
export { createSqliteDefinitionStore, type SqliteDefinitionStoreOptions } from './sqlite-definition-store.ts';
export { createSqliteRunLedger, type SqliteRunLedgerOptions } from './sqlite-run-ledger.ts';
