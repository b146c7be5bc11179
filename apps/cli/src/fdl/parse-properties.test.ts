import fc from 'fast-check';
import { stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import { parseFdl, type Fdl, type ReadScript } from './parse.ts';
import { FdlError } from './problem.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const scripts: ReadScript = () => ({ bytes: bytes('#!/bin/sh\necho hi\n') });
const parse = (text: string): Fdl => parseFdl('fdl.yaml', bytes(text), scripts);

/** What parsing ends in: services, or places of faults. Anything else that is thrown passes through. */
function outcome(input: Uint8Array): 'services' | readonly { line: number; column: number }[] {
  try {
    parseFdl('f', input, scripts);
    return 'services';
  } catch (error) {
    if (error instanceof FdlError) return error.problems;
    throw error;
  }
}

function expectServicesOrFaults(input: Uint8Array): void {
  const result = outcome(input);
  if (result === 'services') return;
  expect(result.length).toBeGreaterThan(0);
  expect(result.every(({ line, column }) => line > 0 && column > 0)).toBe(true);
}

describe('properties', () => {
  it('throws nothing but an FdlError, whatever the bytes', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (input) => {
        expectServicesOrFaults(input);
      }),
      { numRuns: 1000 },
    );
  });

  it('throws nothing but an FdlError, whatever the text', () => {
    expect.hasAssertions();
    const words = [
      'functions:',
      'oscar:',
      '- ',
      'a:',
      'name: x',
      '\n',
      '  ',
      '    ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '&a ',
      '*a',
      '<<: ',
      '"',
      "'",
      '|',
      '>',
      '? ',
      '!t ',
      '---',
      '\t',
      '#',
      ': ',
      'script: s',
      'input:',
      'null',
      '1',
      '\u0000',
      '\uD800',
      '😀',
    ];
    const soup = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 4 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(soup, (parts) => {
        expectServicesOrFaults(bytes(parts.join('')));
      }),
      { numRuns: 2000 },
    );
  });

  it('gives back the services that were written', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 12 });
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
    const bucket = fc.tuple(word, word).map((parts) => parts.join('/'));
    const storage = fc.record(
      {
        storage_provider: fc.constantFrom('minio', 'minio.default', 's3.x'),
        path: bucket,
        suffix: fc.array(text),
      },
      { requiredKeys: ['storage_provider', 'path'] },
    );
    const service = fc.record(
      {
        name: word,
        image: word,
        script: fc.constant('a.sh'),
        cpu: fc.constantFrom('1.0', '0.2', '500m', '1'),
        memory: fc.constantFrom('256Mi', '1Gi', '1e9'),
        alpine: fc.boolean(),
        synchronous: fc.record({ min_scale: fc.nat(9), max_scale: fc.nat(9) }),
        input: fc.array(storage, { maxLength: 3 }),
        environment: fc.record({ variables: fc.dictionary(text, text, { noNullPrototype: true }) }),
        expose: fc.record({ api_port: fc.array(fc.nat(65_535)), health_path: text }),
        sluice: fc.record({ timeout: fc.integer({ min: 1, max: 99 }), allow_loop: fc.boolean() }),
      },
      { requiredKeys: ['name', 'image', 'script'] },
    );
    const services = fc.uniqueArray(service, { selector: ({ name }) => name, minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(services, fc.boolean(), (list, flow) => {
        const written = stringify(
          { functions: { oscar: list.map((item) => ({ 'my.cluster': item })) } },
          { collectionStyle: flow ? 'flow' : 'any' },
        );
        const parsed = parse(written).services.map((item) => item.document);
        expect(parsed).toEqual(
          list.map((item) => ({ ...item, script: '#!/bin/sh\necho hi\n', cluster_id: 'my.cluster' })),
        );
      }),
    );
  });
});
