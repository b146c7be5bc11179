import {
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findConnection, parseUrl, type Connection, type ConnectionInput } from './connection.ts';

let root: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), 'sluice-connection-')));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function serverIn(folder: string, server: unknown = { url: 'http://127.0.0.1:9999', pid: 1 }): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(folder, 'server.json'),
    typeof server === 'string' ? server : JSON.stringify(server),
  );
  writeFileSync(path.join(folder, 'admin-password'), 'l0cal\n');
  return folder;
}

function find(over: Partial<ConnectionInput> = {}): Connection {
  const cwd = path.join(root, 'a', 'b');
  mkdirSync(cwd, { recursive: true });
  return findConnection({
    url: undefined,
    env: {},
    cwd,
    checkout: path.join(root, 'checkout'),
    isAlive: () => true,
    ...over,
  });
}

const local = { username: 'oscar', password: 'l0cal' };

describe('the server', () => {
  it('is the default address where nothing is known, without credentials', () => {
    const connection = find();
    expect(connection).toMatchObject({ source: 'default', credentials: undefined, dataFolder: undefined });
    expect(connection.url.href).toBe('http://127.0.0.1:8080/');
  });

  it.each([
    ['the current folder', 'a/b/data'],
    ['a folder above', 'data'],
    ['the checkout', 'checkout/data'],
  ])('is the local one found in %s', (_, place) => {
    const folder = serverIn(path.join(root, place));
    const connection = find();
    expect(connection).toMatchObject({ source: 'local server', credentials: local, dataFolder: folder });
    expect(connection.url.port).toBe('9999');
  });

  it('is the one of SLUICE_DATA, and then of no other folder', () => {
    serverIn(path.join(root, 'data'));
    serverIn(path.join(root, 'other'), { url: 'http://127.0.0.1:1234', pid: 1, username: 'ada' });
    const found = find({ env: { SLUICE_DATA: '../../other' } });
    expect(found).toMatchObject({
      source: 'local server',
      credentials: { username: 'ada', password: 'l0cal' },
    });
    expect(find({ env: { SLUICE_DATA: '../../missing' } })).toMatchObject({ source: 'default' });
  });

  it('is the one that was said', () => {
    serverIn(path.join(root, 'data'));
    const env = { SLUICE_URL: 'https://env.example/base/' };
    expect(find({ env })).toMatchObject({ source: 'environment', credentials: undefined });
    expect(find({ env }).url.href).toBe('https://env.example/base');
    expect(find({ env, url: 'option.example:81' }).url.href).toBe('http://option.example:81/');
  });

  it('is not one whose process has ended: another may listen there by now', () => {
    const folder = serverIn(path.join(root, 'data'), { url: 'http://127.0.0.1:8080', pid: 4 });
    expect(find({ isAlive: (pid) => pid !== 4 })).toMatchObject({
      source: 'default',
      credentials: undefined,
      dataFolder: folder,
    });
  });

  it.each(['{', '[]', '{"url":1,"pid":2}', '{"url":"x","pid":2}', '{"url":"http://a","pid":"2"}'])(
    'is not read from a damaged file %j',
    (text) => {
      serverIn(path.join(root, 'data'), text);
      expect(find()).toMatchObject({ source: 'default' });
      expect(() => find({ env: { SLUICE_DATA: path.join(root, 'data') } })).toThrow('is damaged');
    },
  );
});

describe('the credentials', () => {
  it('go to the local server under any of its names, and to no other', () => {
    serverIn(path.join(root, 'data'));
    expect(find({ url: 'http://localhost:9999' }).credentials).toEqual(local);
    expect(find({ url: 'http://localhost:9998' }).credentials).toBeUndefined();
    expect(find({ url: 'https://127.0.0.1:9999' }).credentials).toBeUndefined();
    expect(find({ url: 'http://127.0.0.1.example:9999' }).credentials).toBeUndefined();
  });

  it('are those of the variables, ours before OSCAR’s', () => {
    serverIn(path.join(root, 'data'));
    const oscar = { OSCAR_USERNAME: 'o', OSCAR_PASSWORD: 'op' };
    expect(find({ env: oscar }).credentials).toEqual({ username: 'o', password: 'op' });
    expect(find({ env: { ...oscar, SLUICE_PASSWORD: 'sp' } }).credentials).toEqual({
      username: 'oscar',
      password: 'sp',
    });
    expect(find({ env: { ...oscar, SLUICE_PASSWORD: '' } }).credentials?.password).toBe('op');
  });

  it('are read from files', () => {
    const file = path.join(root, 'secret');
    writeFileSync(file, 'from file\n');
    expect(find({ env: { SLUICE_PASSWORD_FILE: file } }).credentials?.password).toBe('from file');
    expect(() => find({ env: { SLUICE_PASSWORD_FILE: file, SLUICE_PASSWORD: 'x' } })).toThrow(
      'keep one of the two',
    );
    expect(() => find({ env: { SLUICE_PASSWORD_FILE: `${file}2` } })).toThrow('cannot be read');
  });

  it('may be in the URL, which no longer shows them', () => {
    const { url, credentials } = parseUrl('http://ada:p%40ss@host:1/x/?q=1#h');
    expect(url.href).toBe('http://host:1/x');
    expect(credentials).toEqual({ username: 'ada', password: 'p@ss' });
  });
});

it.each(['ftp://host', 'http://', 'http://a b', 'http://%'])('refuses the URL %j', (text) => {
  expect(() => parseUrl(text)).toThrow(/is not a URL/);
});

it.each([
  'https://ada:s3cret@host:80a',
  'https://ada:s3cret/x@host',
  'ada:s3cret#x@host:port',
  'https://s3cret@x@:',
])('the refusal of %s does not show its password', (text) => {
  expect(() => parseUrl(text)).toThrow(/is not a URL/);
  expect(() => parseUrl(text)).not.toThrow(/s3cret/);
});

/** Another user of this machine: only root can make files of theirs. */
const stranger = 54_321;
const asRoot = process.getuid?.() === 0;

function link(target: string, at: string, uid?: number): void {
  rmSync(at, { recursive: true, force: true });
  symlinkSync(target, at);
  if (uid !== undefined) lchownSync(at, uid, uid);
}

it.runIf(asRoot)('a data folder that was come across and is a stranger’s is passed over, in each way', () => {
  const folder = path.join(root, 'data');
  const address = path.join(folder, 'server.json');
  const ours = serverIn(path.join(root, 'ours'));
  const theirs = serverIn(path.join(root, 'theirs'));
  chownSync(theirs, stranger, stranger);
  const ways: Readonly<Record<string, () => void>> = {
    'their folder': () => chownSync(folder, stranger, stranger),
    'their address': () => chownSync(address, stranger, stranger),
    'their link to a folder of ours': () => link(ours, folder, stranger),
    'our link to a folder of theirs': () => link(theirs, folder),
    'their link to an address of ours': () => link(path.join(ours, 'server.json'), address, stranger),
  };
  for (const [way, meddle] of Object.entries(ways)) {
    rmSync(folder, { recursive: true, force: true });
    serverIn(folder);
    meddle();
    expect(find(), way).toMatchObject({ source: 'default', credentials: undefined, dataFolder: undefined });
    expect(find({ env: { SLUICE_DATA: folder } }), way).toMatchObject({ source: 'local server' });
  }
});

it.runIf(asRoot)('a stranger’s file, or link to one of ours, is no password', () => {
  const password = path.join(serverIn(path.join(root, 'data')), 'admin-password');
  chownSync(password, stranger, stranger);
  expect(find()).toMatchObject({ source: 'local server', credentials: undefined });
  link(path.join(serverIn(path.join(root, 'ours')), 'admin-password'), password, stranger);
  expect(find()).toMatchObject({ source: 'local server', credentials: undefined });
});

it('a data folder that was come across may be a link of our own', () => {
  link(serverIn(path.join(root, 'ours')), path.join(root, 'data'));
  expect(find()).toMatchObject({ source: 'local server', credentials: local });
});
