export * from './outbox-relay.ts';
export * from './port.ts';
