import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { AppError } from '@sluice/shared/errors';

/** Swagger UI's own files, by name, and their types; nothing else of its folder is served. */
const files: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
  ['favicon-32x32.png', 'image/png'],
]);

const start = `window.addEventListener('load', () => {
  // Nothing of it is asked of another server: no validator, no fonts.
  SwaggerUIBundle({
    url: 'openapi.json',
    dom_id: '#swagger-ui',
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: false,
  });
});
`;

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The page that shows `/openapi.json`, made of files of this server only. */
export function docsPage(): { readonly html: string; readonly policy: string } {
  return { html: page, policy };
}

/**
 * A file of the page.
 * @throws AppError `not_found`
 */
export async function docsFile(
  name: string,
): Promise<{ readonly type: string; readonly size: number; readonly body: Readable }> {
  if (name === 'start.js') {
    const bytes = Buffer.from(start);
    return { type: 'text/javascript; charset=utf-8', size: bytes.byteLength, body: Readable.from([bytes]) };
  }
  const type = files.get(name);
  if (type === undefined) throw new AppError('not_found', `The page has no file "${name}".`);
  const file = await open(new URL(`static/${name}`, import.meta.resolve('@fastify/swagger-ui')));
  try {
    const { size } = await file.stat();
    return { type, size, body: file.createReadStream() };
  } catch (error) {
    await file.close();
    throw error;
  }
}
