import { describe, expect, test } from 'vitest';
import { encodeServerEvent } from './server-event.ts';

describe('a server-sent event', () => {
  test('has its fields in lines and ends with an empty one', () => {
    expect(encodeServerEvent({ event: 'run', id: 'a.1', data: '{"state":"queued"}' })).toBe(
      'event: run\nid: a.1\ndata: {"state":"queued"}\n\n',
    );
  });

  test.each([
    ['a\nb', 'data: a\ndata: b\n\n'],
    ['10 %\r20 %\r', 'data: 10 %\ndata: 20 %\ndata: \n\n'],
    ['a\r\nevent: end', 'data: a\ndata: event: end\n\n'],
    ['', 'data: \n\n'],
  ])('carries the text %j in lines of its own, so that no text becomes a field', (data, bytes) => {
    expect(encodeServerEvent({ data })).toBe(bytes);
  });

  test('may be a position, a comment and no event', () => {
    expect(encodeServerEvent({ comment: 'alive', id: 'a.2' })).toBe(': alive\nid: a.2\n\n');
  });
});
