export * from './message-codec.ts';
export * from './outbox-relay.ts';
export * from './port.ts';
