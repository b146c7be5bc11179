import { expect, test } from 'vitest';
import { buildFailure } from './build-failure.ts';

const exporting = { name: 'exporting to image', lines: [] };

test('a step that failed, with its name, exit code and last lines', () => {
  const error =
    'process "/bin/sh -c pip install -r requirements.txt" did not complete successfully: exit code: 1';
  const lines = ['Collecting nope', '', 'ERROR: No matching distribution found for nope'];
  const step = { name: '[2/3] RUN pip install -r requirements.txt', error, lines };
  const found = buildFailure({ said: `failed to solve: ${error}`, step });
  expect(found).toMatchObject({
    code: 'unprocessable',
    retry: 'never',
    details: { reason: 'requirements_failed' },
  });
  expect(found.message).toBe(
    'The step "[2/3] RUN pip install -r requirements.txt" failed with exit code 1:\nCollecting nope\nERROR: No matching distribution found for nope',
  );
  const many = { ...step, lines: Array.from({ length: 500 }, (_, index) => `${index} ${'x'.repeat(400)}`) };
  expect(buildFailure({ said: '', step: many }).message.length).toBeLessThan(2000);
  expect(buildFailure({ said: `failed to solve: ${error}`, step: undefined }).details['reason']).toBe(
    'requirements_failed',
  );
  expect(buildFailure({ said: '', step: { ...step, error: error.replace(/1$/, '137') } }).message).toContain(
    'memory',
  );
});

test('what a step or its command says decides nothing', () => {
  const command = 'echo \\"connection refused; failed to push; no space left on device\\"; exit 2';
  const error = `process "/bin/sh -c ${command}" did not complete successfully: exit code: 2`;
  const step = { name: '[2/2] RUN x', error, lines: ['rpc error: code = Unavailable', '503'] };
  expect(buildFailure({ said: `failed to solve: ${error}`, step })).toMatchObject({ code: 'unprocessable' });
});

const dial = 'dial tcp 10.0.0.7:5000: connect: connection refused';

test.each([
  [
    'failed to solve: reg:5000/x/y:1: failed to resolve source metadata for reg:5000/x/y:1: reg:5000/x/y:1: not found',
    'unprocessable',
    'base_missing',
    'The base image reg:5000/x/y:1 is not there.',
  ],
  [
    'failed to solve: docker.io/x/y:1: failed to resolve source metadata for docker.io/x/y:1: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    'unprocessable',
    'base_missing',
    'The base image docker.io/x/y:1 is not there, or needs a login that the builder has not.',
  ],
  [
    'failed to solve: reg/x:1: failed to resolve source metadata for reg/x:1: no match for platform in manifest: not found',
    'unprocessable',
    'base_missing',
    'The base image reg/x:1 is not made for the platform that was asked for.',
  ],
  [
    `failed to solve: reg:5000/x:1: failed to resolve source metadata for reg:5000/x:1: failed to do request: Head "http://reg:5000/v2/x/manifests/1": ${dial}`,
    'unavailable',
    'registry_unavailable',
    'The registry reg:5000 cannot be reached: dial tcp 10.0.0.7:5000: connect: connection refused.',
  ],
  [
    'failed to solve: failed to push reg/x:1: unexpected status from POST request to https://reg/v2/x/blobs/uploads/: 403 Forbidden',
    'forbidden',
    'registry_refused',
    /^The registry reg does not take the image: .*no right to push\.$/,
  ],
  [
    'failed to solve: failed to push reg/x:1: failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://auth.reg/token: 401 Unauthorized',
    'forbidden',
    'registry_refused',
    /^The registry auth\.reg does not take the image/,
  ],
  [
    'failed to solve: failed to push reg/x:1: failed to authorize: failed to fetch anonymous token: Get "https://auth.reg/token": net/http: TLS handshake timeout',
    'unavailable',
    'registry_unavailable',
    /^The registry auth\.reg cannot be reached/,
  ],
  [
    'failed to solve: failed to push reg/x:1: unexpected status from PUT request to https://reg/v2/x/manifests/1: 405 Method Not Allowed',
    'unavailable',
    'registry_unavailable',
    /read-only/,
  ],
  [
    'failed to solve: failed to push reg/x:1: unexpected status from PUT request to https://reg/v2/x/blobs/1: 503 Service Unavailable',
    'unavailable',
    'registry_unavailable',
    /fails \(503\)/,
  ],
  [
    'failed to solve: failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://reg/v2/x/blobs/1: 429 Too Many Requests',
    'unavailable',
    'registry_unavailable',
    /fewer requests/,
  ],
  [
    'failed to solve: failed to push reg/x:1: unexpected status from PUT request to https://reg/v2/x/blobs/1: 507 Insufficient Storage',
    'storage_full',
    'registry_unavailable',
    /no space left/,
  ],
  [
    'failed to solve: failed to push reg:5000/x:1: failed to do request: Head "https://reg:5000/v2/x/blobs/1": http: server gave HTTP response to HTTPS client',
    'unavailable',
    'registry_unavailable',
    /SLUICE_REGISTRY_INSECURE/,
  ],
  [
    'failed to solve: failed to push reg:5000/x:1: failed to do request: Head "https://reg:5000/v2/x/blobs/1": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    'unavailable',
    'registry_unavailable',
    /certificate that is not trusted/,
  ],
  [
    'failed to solve: failed to push reg:5000/x:1: unknown: invalid content range',
    'storage_full',
    'registry_unavailable',
    'The registry reg:5000 lost a part of the image; perhaps its disk is full.',
  ],
  [
    'failed to solve: failed to push reg:5000/x:1: unknown: blob upload unknown to registry - blob upload unknown',
    'storage_full',
    'registry_unavailable',
    'The registry reg:5000 lost a part of the image; perhaps its disk is full.',
  ],
  [
    'failed to solve: failed to push reg:5000/x:1: unknown: unknown error',
    'unavailable',
    'registry_unavailable',
    /^The registry reg:5000 did not take the image: .*unknown error\.$/,
  ],
  [
    'failed to solve: failed to push reg/x:1: unexpected status from PUT request to https://reg/v2/x/manifests/1: 413 Request Entity Too Large',
    'forbidden',
    'registry_refused',
    /413 Request Entity Too Large\.$/,
  ],
  [
    `listing workers for Build: failed to list workers: Unavailable: connection error: desc = "transport: Error while dialing: ${dial}"`,
    'unavailable',
    'builder_unavailable',
    /^The builder went away: listing workers/,
  ],
  [
    'failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF',
    'unavailable',
    'builder_unavailable',
    /./,
  ],
  ['failed to solve: Canceled: context canceled', 'unavailable', 'builder_unavailable', /./],
  ['', 'unavailable', 'builder_unavailable', /without a word/],
  [
    'failed to solve: mount callback failed: write /x: no space left on device',
    'storage_full',
    'builder_unavailable',
    /disk is full/,
  ],
  [
    'failed to solve: dockerfile parse error on line 2: unknown instruction: X',
    'unprocessable',
    'build_failed',
    /unknown instruction/,
  ],
] as const)('%s', (said, code, reason, message) => {
  const found = buildFailure({ said, step: undefined });
  expect(found).toMatchObject({ code, details: { reason } });
  expect(found.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
});

test('the image that makes an SBOM is no base image', () => {
  const name = 'resolve image config for docker-image://docker.io/docker/buildkit-syft-scanner:stable-1';
  const error = 'docker.io/docker/buildkit-syft-scanner:stable-1: not found';
  const said = `failed to solve: failed to resolve source metadata for ${error}`;
  const found = buildFailure({ said, step: { name, error, lines: [] } });
  expect(found).toMatchObject({ code: 'unprocessable', details: { reason: 'build_failed' } });
  expect(found.message).toContain('without "sbom"');
});

test('the error of the step that pushes is looked at where the program says less', () => {
  const error =
    'failed to push reg/x:1: failed to do request: Put "https://reg/v2/x": write tcp 10.0.0.1:1->10.0.0.2:443: connection reset by peer';
  expect(buildFailure({ said: 'failed to solve', step: { ...exporting, error } })).toMatchObject({
    details: { reason: 'registry_unavailable' },
  });
});
