export * from './config.ts';
export type { NotificationHandlers, NotificationSource, ObjectNotification, WriteEvents } from './ports.ts';
export * from './storage-events.ts';
