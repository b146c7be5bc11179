export * from './config.ts';
export { createWebhook, type Webhook, type WebhookDeps } from './http/webhook.ts';
export type { NotificationHandlers, NotificationSource, ObjectNotification, WriteEvents } from './ports.ts';
export * from './storage-events.ts';
