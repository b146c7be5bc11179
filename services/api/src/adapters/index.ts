export * from './file-accounts.ts';
