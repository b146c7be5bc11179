export { createBusNotifications, type BusNotificationsDeps } from './bus-notifications.ts';
export { createFolderWatcher, type FolderWatcherDeps } from './folder-watcher.ts';
