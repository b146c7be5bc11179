import { describe, expect, test } from 'vitest';
import { elementsOf, keyIn, textOf } from './s3-xml.ts';

const xml =
  '<?xml version="1.0" encoding="UTF-8"?>\n<R xmlns="x"><C><Key>a+b%2B%0Ac</Key><E>&#34;0e1&quot;</E><V/></C><C ><Key>false</Key></C></R>';

describe('the XML of S3', () => {
  test('has elements of a name, in order', () => {
    expect(elementsOf(xml, 'C')).toHaveLength(2);
    expect(elementsOf(xml, 'C').map(keyIn)).toEqual(['a b+\nc', 'false']);
    expect(elementsOf(xml, 'Absent')).toEqual([]);
  });

  test('has texts, which stay texts', () => {
    expect(textOf(xml, 'E')).toBe('"0e1"');
    expect(textOf(xml, 'V')).toBe('');
    expect(textOf(xml, 'Absent')).toBeUndefined();
    expect(textOf('<A>&amp;lt; &unknown; &#x1F600;</A>', 'A')).toBe('&lt; &unknown; 😀');
  });
});
