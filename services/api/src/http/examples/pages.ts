import type { Example } from '../route-doc.ts';

export const pageExamples = {
  home: { status: 200, response: '<!doctype html>…' },
  homeHead: { status: 200 },
  ui: { status: 301, response: '<a href="/">/</a>\n' },
  openapi: { status: 200, response: { openapi: '3.1.0' } },
  docs: { status: 200, response: '<!doctype html>…' },
  docsFile: { params: { file: 'swagger-ui.css' }, status: 200, response: '.swagger-ui{…}' },
} as const satisfies Record<string, Example>;
