export { createRuledNotifications, type RuledNotificationsDeps } from './bucket-rules.ts';
export { createBusNotifications, type BusNotificationsDeps } from './bus-notifications.ts';
export { createFolderWatcher, type FolderWatcherDeps } from './folder-watcher.ts';
export { createS3Notifications, type ListenToObjects, type S3NotificationsDeps } from './s3-notifications.ts';
