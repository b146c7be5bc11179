import type { Example } from '../route-doc.ts';

const measured = {
  storage_quota: { source: 'unset' },
  storage_usage: { used: '11', used_bytes: 11, objects: 1 },
  attribution: 'complete',
};
const photos = { bucket_name: 'photos', visibility: 'private', allowed_users: null };

export const bucketExamples = {
  create: {
    body: { bucket_name: 'scans', visibility: 'restricted', allowed_users: ['alice', 'bob'] },
    status: 201,
  },
  update: { body: { bucket_name: 'photos', visibility: 'public' }, status: 204 },
  list: {
    status: 200,
    response: [{ ...photos, owner: 'cluster_admin', metadata: { owner_name: 'oscar' }, ...measured }],
  },
  read: {
    params: { bucket: 'photos' },
    status: 200,
    response: {
      ...photos,
      owner: 'cluster_admin',
      metadata: { owner: 'cluster_admin', owner_name: 'oscar' },
      objects: [
        { object_name: 'in/photo.jpg', size_bytes: 11, last_modified: '2026-01-02 03:04:05 +0000 UTC' },
      ],
      ...measured,
      is_truncated: false,
      returned_items: 1,
    },
  },
  remove: { params: { bucket: 'photos' }, status: 204 },
  presign: {
    params: { bucket: 'photos' },
    body: { object_key: 'in/photo.jpg', operation: 'download', expires_in: 600 },
    status: 200,
    response: {
      object_key: 'in/photo.jpg',
      operation: 'download',
      method: 'GET',
      url: 'http://127.0.0.1:8080/objects/photos/in/photo.jpg?X-Sluice-Expires=…&X-Sluice-Signature=…',
      expires_at: '2026-01-02T03:14:05Z',
    },
  },
} as const satisfies Record<string, Example>;

const photo = { bucket: 'photos', key: 'in/photo.jpg' };

export const objectExamples = {
  list: {
    params: { bucket: 'photos' },
    query: { prefix: 'in/', limit: '100' },
    status: 200,
    response: {
      objects: [
        {
          key: 'in/photo.jpg',
          size: 11,
          etag: '5eb63bbbe01eeed093cb22bb8f5acdc3',
          last_modified: '2026-01-02T03:04:05.678Z',
        },
      ],
    },
  },
  put: {
    params: { bucket: 'photos', key: 'in/second.jpg' },
    headers: { 'If-None-Match': '*', 'X-Amz-Meta-camera': 'none' },
    body: 'hello world',
    status: 201,
  },
  get: { params: photo, status: 200, response: 'hello world' },
  head: { params: photo, status: 200 },
  remove: { params: photo, status: 204 },
  putPresigned: { params: photo, body: 'hello world', status: 200 },
  getPresigned: { params: photo, status: 200, response: 'hello world' },
} as const satisfies Record<string, Example>;
