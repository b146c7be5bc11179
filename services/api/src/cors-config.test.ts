import { loadConfig } from '@sluice/shared/config';
import { expect, test } from 'vitest';
import { corsConfig, corsVariables } from './cors-config.ts';

const read = (env: Record<string, string>) => corsConfig(loadConfig(corsVariables, env, () => ''));

test('OSCAR’s defaults are valid', () => {
  const config = read({});
  expect(config).toMatchObject({
    methods: ['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'HEAD'],
    headers: ['Authorization', 'Content-Type'],
  });
  expect('origins' in config && config.origins.has('http://localhost:5173')).toBe(true);
});

test('origins are kept as browsers write them', () => {
  const config = read({
    INGRESS_SERVICES_CORS_ALLOWED_ORIGINS:
      ' HTTPS://Page.Example:443/ ,, http://localhost:80,http://[::1]:8080',
  });
  expect('origins' in config ? [...config.origins] : config).toEqual([
    'https://page.example',
    'http://localhost',
    'http://[::1]:8080',
  ]);
});

test.each([
  'page.example',
  'https://page.example/path',
  'https://user@page.example',
  'https://*.example',
  'null',
  'file:///x',
  'https://page.example?x',
])('%s is no origin', (origin) => {
  expect(read({ INGRESS_SERVICES_CORS_ALLOWED_ORIGINS: `http://localhost,${origin}` })).toEqual([
    {
      variable: 'INGRESS_SERVICES_CORS_ALLOWED_ORIGINS',
      message: `${JSON.stringify(origin)} is not an origin (write for example "https://example.org")`,
    },
  ]);
});

test('every fault is named', () => {
  const faults = read({
    INGRESS_SERVICES_CORS_ALLOWED_METHODS: 'GET, P OST',
    INGRESS_SERVICES_CORS_ALLOWED_HEADERS: 'A\r\nB',
  });
  expect(faults).toMatchObject([
    { variable: 'INGRESS_SERVICES_CORS_ALLOWED_METHODS' },
    { variable: 'INGRESS_SERVICES_CORS_ALLOWED_HEADERS' },
  ]);
});
