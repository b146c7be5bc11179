import { parametersIn, type Operation, type Parameter } from './api-document.ts';
import { jsonBodies, wholeBodies } from './hostile-bodies.ts';
import type { World } from './hostile-world.ts';

export type Kind = 'query' | 'undeclared' | 'path' | 'body' | 'header' | 'connection' | 'method';

export interface HostileCase {
  readonly operation: Operation;
  readonly kind: Kind;
  readonly what: string;
  readonly bytes: Buffer;
  /** What a refusal has to name. */
  readonly field?: string;
  /** The client closes its side: no answer is an answer. */
  readonly half?: boolean;
}

type Header = readonly [name: string, value: string];

interface Parts {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: readonly Header[];
  /** Sent as it is, without a length. */
  readonly rest?: Buffer | string;
  readonly body?: Buffer | string;
  readonly version?: string;
}

/** The example of an operation with other parts in the place of its own. */
export function requestOf(operation: Operation, world: World, parts: Parts = {}): Buffer {
  const own = parametersIn(operation, 'header').flatMap(({ name, example }): Header[] =>
    typeof example === 'string' ? [[name, example]] : [],
  );
  const given = new Set((parts.headers ?? []).map(([name]) => name.toLowerCase()));
  const example = operation.body?.example;
  const text = typeof example === 'string' ? example : JSON.stringify(example ?? '');
  const whole = parts.body ?? (operation.body === undefined ? undefined : text);
  const body = parts.rest !== undefined || whole === undefined ? undefined : world.bodyOf(operation, whole);
  const login = world.loginOf(operation);
  const headers: readonly Header[] = [
    ['Host', 'localhost'],
    ['Connection', 'close'],
    ...(login === undefined ? [] : [['Authorization', login] as const]),
    ...own,
    ...(body === undefined ? [] : [['Content-Length', String(body.byteLength)] as const]),
  ];
  const lines = [...headers.filter(([name]) => !given.has(name.toLowerCase())), ...(parts.headers ?? [])];
  const head = [
    `${parts.method ?? operation.method} ${parts.target ?? world.targetOf(operation)} ${parts.version ?? 'HTTP/1.1'}`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
  ].join('\r\n');
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`, 'latin1'), Buffer.from(parts.rest ?? body ?? '')]);
}

/** Everything that is tried with one operation. */
export function casesOf(operation: Operation, world: World): readonly HostileCase[] {
  const make = (kind: Kind, what: string, parts: Parts, more: Partial<HostileCase> = {}): HostileCase => ({
    operation,
    kind,
    what,
    bytes: requestOf(operation, world, parts),
    ...more,
  });
  return [
    ...queryCases(operation, world, make),
    ...pathCases(operation, world, make),
    ...bodyCases(operation, make),
    ...headerCases(operation, make),
    ...connectionCases(make),
  ];
}

type Make = (kind: Kind, what: string, parts: Parts, more?: Partial<HostileCase>) => HostileCase;

const texts: readonly string[] = [
  ...'abc 99999999999999999999 -1 NaN 1e9 0x10 1.5 %00 %01%1f%7f %0d%0aX-Injected:%20y %ff%fe %c0%80 %zz % %u0041'.split(
    ' ',
  ),
  ...'..%2f..%2fetc%2fpasswd %F0%9F%98%80 __proto__ constructor %27;drop%20table null [] {} +'.split(' '),
  '',
  'a'.repeat(10_000),
];

function queryCases(operation: Operation, world: World, make: Make): readonly HostileCase[] {
  const target = world.targetOf(operation);
  const mark = target.includes('?') ? '&' : '?';
  const declared = parametersIn(operation, 'query').flatMap(({ name }) => {
    const others = world.targetOf(operation, { without: name });
    const first = others.includes('?') ? '&' : '?';
    return [
      ...texts.map((text) => [`${name}=${text.slice(0, 40)}`, `${others}${first}${name}=${text}`] as const),
      [`${name} twice`, `${others}${first}${name}=1&${name}=2`] as const,
      [`${name} 500 times`, `${others}${first}${`${name}=1&`.repeat(500)}`] as const,
      [`${name} without a value`, `${others}${first}${name}`] as const,
    ].map(([what, changed]) => make('query', what, { target: changed }, { field: name }));
  });
  const [first = 'limit'] = parametersIn(operation, 'query').map(({ name }) => name);
  const undeclared = [
    'undeclared=%00',
    '__proto__[x]=1&constructor=1&toString=1',
    `${first}[]=1&${first}[a]=1`,
    '&&&===&=x&%zz=%ff',
    `x=${'y'.repeat(10_000)}`,
  ].map((query) => make('undeclared', query.slice(0, 40), { target: `${target}${mark}${query}` }));
  return [...declared, ...undeclared];
}

const names: readonly string[] = [
  ...'.. . %2e%2e %2e%2e%2f ..%2f..%2fetc%2fpasswd ..%5c..%5c %00 a%00b %0a %0d%0aX-Injected:%20y %zz % %ff %c0%ae %E0%A4%A'.split(
    ' ',
  ),
  ...'%F0%9F%98%80 %C3%BC __proto__ constructor toString hasOwnProperty * %2a a%2fb %2f %20 x%20 A - ~ : @ %3F %23 $(id) `id` %3Cscript%3E'.split(
    ' ',
  ),
  'a'.repeat(300),
  'a'.repeat(5000),
  '%F0%9F%98%80'.repeat(400),
];

function pathCases(operation: Operation, world: World, make: Make): readonly HostileCase[] {
  return parametersIn(operation, 'path').flatMap(({ name }) =>
    names.map((value) =>
      make(
        'path',
        `{${name}} = ${value.slice(0, 40)}`,
        { target: world.targetOf(operation, { path: { [name]: value } }) },
        { field: name },
      ),
    ),
  );
}

function bodyCases(operation: Operation, make: Make): readonly HostileCase[] {
  const { body } = operation;
  const bodies =
    body === undefined
      ? // No body is asked for: it is read or not, but never believed.
        wholeBodies('{}').filter(({ what }) => /nothing|NUL|10,000|gzip/.test(what))
      : body.isJson
        ? jsonBodies(body.schema, body.example)
        : wholeBodies(body.example);
  return [
    ...bodies.map(({ what, bytes, headers = [], field }) =>
      make('body', what, { body: bytes, headers }, field === undefined ? {} : { field }),
    ),
    ...(body === undefined ? [] : [make('body', 'over the limit', { body: Buffer.alloc(2_200_000, '[') })]),
  ];
}

const ids = [
  '../x',
  'events',
  'A',
  '',
  '__proto__',
  'a.b',
  '-',
  '\xff\xfe',
  'x'.repeat(64),
  'x'.repeat(10_000),
];
const odd = [
  '',
  '%00',
  '*',
  '"',
  '""',
  'W/"x"',
  '"a", "b"',
  '-1',
  '\xff\xfe',
  '../x',
  'x'.repeat(300),
  'x'.repeat(10_000),
];

function headerCases(operation: Operation, make: Make): readonly HostileCase[] {
  const one = (name: string, value: string, more: Partial<HostileCase> = {}): HostileCase =>
    make('header', `${name}: ${value.slice(0, 40)}`, { headers: [[name, value]] }, more);
  const declared = parametersIn(operation, 'header').flatMap(({ name }: Parameter) =>
    [...odd, ...ids].flatMap((value) => [
      one(name, value, { field: name }),
      make(
        'header',
        `${name} twice`,
        {
          headers: [
            [name, value],
            [name, 'b'],
          ],
        },
        { field: name },
      ),
    ]),
  );
  const logins = [
    'Basic',
    'Basic ',
    'Basic !!!',
    `Basic ${Buffer.from('nocolon').toString('base64')}`,
    'Bearer',
    'Bearer ',
    'Bearer x',
  ]
    .concat(
      'Bearer Bearer x',
      'Digest username="x"',
      'Basic Og==',
      `Bearer ${'a'.repeat(63)}`,
      `Bearer ${'a'.repeat(64)}`,
    )
    .concat(
      `Bearer ${'a'.repeat(65)}`,
      `Bearer ${'a'.repeat(10_000)}`,
      `Basic ${'A'.repeat(10_000)}`,
      'Bearer \xff\xfe',
    );
  const others: readonly Header[] = [
    ...ids.map((id) => ['X-Delegated-Job-ID', id] as const),
    ...odd.flatMap((value) => [['If-Match', value] as const, ['Last-Event-ID', value] as const]),
    ...['bytes=0-', 'bytes=-1', 'bytes=9-1', 'x=1', `bytes=${'0-1,'.repeat(2000)}`].map(
      (range) => ['Range', range] as const,
    ),
    ...['*', ';;;', 'text/event-stream', 'a/b;q=x', 'x'.repeat(9000)].map(
      (accept) => ['Accept', accept] as const,
    ),
    ...['null', 'http://', 'javascript:1', 'http://localhost.evil', '\xff', 'x'.repeat(9000)].map(
      (origin) => ['Origin', origin] as const,
    ),
    ...['text/html', ';', 'multipart/form-data', 'a'.repeat(5000)].map(
      (type) => ['Content-Type', type] as const,
    ),
    ['Accept-Version', '1.x'],
    ['Accept-Encoding', 'gzip;q=x, \xff'],
    ['Cookie', 'a=b; '.repeat(1500)],
    ['Host', ''],
    ['Host', 'evil/../%00'],
    ['X-HTTP-Method-Override', 'DELETE'],
    ['X-Forwarded-For', '\xff, ::, 1.2.3.4.5'],
    ['X-Forwarded-Uri', '%zz?token=%ff&token='],
    ['traceparent', '00-00000000000000000000000000000000-0-zz'],
    ['Connection', 'Authorization, Host, close'],
    ['If-Modified-Since', 'never'],
  ];
  return [
    ...declared,
    ...logins.map((login) => one('Authorization', login)),
    ...others.map(([name, value]) => one(name, value, { field: name })),
    make('header', 'two logins', {
      headers: [
        ['Authorization', 'Basic Og=='],
        ['Authorization', 'Bearer x'],
      ],
    }),
    make('header', 'Expect', { headers: [['Expect', '100-continue']] }),
    make(
      'header',
      '101 headers',
      { headers: Array.from({ length: 101 }, (_, at) => [`X-H${at}`, 'x'] as const) },
      { field: 'headers' },
    ),
  ];
}

/** What is hardly HTTP. */
function connectionCases(make: Make): readonly HostileCase[] {
  const chunked: Header = ['Transfer-Encoding', 'chunked'];
  const http = (
    what: string,
    headers: readonly Header[],
    rest: Buffer | string = '',
    more: Partial<HostileCase> = {},
  ) => make('connection', what, { headers, rest }, more);
  return [
    http('a giant header', [['X-Giant', 'a'.repeat(20_000)]]),
    http('a header with NUL', [['X-Nul', 'a\0b']]),
    http('a name with a blank', [['X Blank', 'x']]),
    http('a folded header', [['X-Fold', 'a\r\n b']]),
    http('both lengths', [['Content-Length', '4'], chunked], '0\r\n\r\n'),
    http(
      'two lengths',
      [
        ['Content-Length', '2'],
        ['Content-Length', '3'],
      ],
      '{}',
    ),
    http('a negative length', [['Content-Length', '-1']], '{}'),
    http('a length of letters', [['Content-Length', 'NaN']], '{}'),
    http('an odd transfer coding', [['Transfer-Encoding', 'gzip, x']], '{}'),
    http('no chunk size', [chunked], 'ZZ\r\n{}\r\n0\r\n\r\n'),
    http('a huge chunk size', [chunked], 'fffffffffffffffff\r\n{}\r\n0\r\n\r\n'),
    http('a negative chunk size', [chunked], '-1\r\n{}\r\n0\r\n\r\n'),
    http('long chunk extensions', [chunked], `2;${'a'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`),
    http('a chunk that breaks off', [chunked], '5\r\nhe', { half: true }),
    http('a body that breaks off', [['Content-Length', '100']], '{"a":', { half: true }),
    http('an unknown expectation', [['Expect', '200-ok']]),
    make('connection', 'a target that is a whole URL', { target: 'http://other.host/system/overview' }),
    make('connection', 'a target with a blank', { target: '/system/over view' }),
    make('connection', 'a target with bytes', { target: '/\x01\xff' }),
    make('connection', 'a star', { target: '*' }),
    make('connection', 'HTTP 2', { version: 'HTTP/2.0' }),
    make('connection', 'HTTP 0.9', { version: '' }),
    make('connection', 'an unknown method', { method: 'FOO' }),
    make('connection', 'a method in small letters', { method: 'get' }),
  ];
}

/** Each path with each method that it does not have. */
export function methodCases(operations: readonly Operation[], world: World): readonly HostileCase[] {
  const methods = [
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'DELETE',
    'PATCH',
    'OPTIONS',
    'TRACE',
    'PROPFIND',
    'PURGE',
    'QUERY',
  ];
  const paths = Map.groupBy(operations, ({ path }) => path);
  return [...paths.values()].flatMap((known) => {
    const [operation] = known;
    if (operation === undefined) return [];
    const other = methods.filter((method) => known.every((taken) => taken.method !== method));
    return other.map((method) => ({
      operation,
      kind: 'method' as const,
      what: method,
      bytes: requestOf({ ...operation, method }, world),
    }));
  });
}
