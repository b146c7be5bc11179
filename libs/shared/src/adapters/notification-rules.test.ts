import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { coveringPrefixes, mergeRules, rulesCover } from './notification-rules.ts';
import { elementsOf } from './s3-xml.ts';

const settings = { namespace: 'test', arn: 'arn:minio:sqs::SLUICE:nats' };
const empty =
  '<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></NotificationConfiguration>';
const others =
  '<TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:x</Topic><Event>s3:ObjectRemoved:*</Event></TopicConfiguration>' +
  '<QueueConfiguration><Id>sluice-test-2-0123456789abcdef</Id><Filter><S3Key><FilterRule><Name>suffix</Name><Value>&amp;.jpg</Value></FilterRule></S3Key></Filter><Event>s3:ObjectCreated:*</Event><Queue>arn:minio:sqs::SLUICE:nats</Queue></QueueConfiguration>';
const configuration = (inside: string): string => empty.replace('></', `>${inside}</`);

describe('prefixes that rules need', () => {
  test('nested ones are one, siblings are two', () => {
    expect(coveringPrefixes(['in/deep/', 'in/', 'in-2/', 'other/', 'in/'])).toEqual([
      'in-2/',
      'in/',
      'other/',
    ]);
    expect(coveringPrefixes(['a/', '', 'b/'])).toEqual(['']);
    expect(coveringPrefixes([])).toEqual([]);
  });

  test('what no filter can say is cut off, so that more is covered, never less', () => {
    expect(coveringPrefixes(['a/\u0001b/', 'c\\d/', 'e/..\u0002/'])).toEqual(['a/', 'c', 'e/']);
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 6 }), (prefixes) => {
        const covering = coveringPrefixes(prefixes);
        for (const prefix of prefixes) expect(covering.some((one) => prefix.startsWith(one))).toBe(true);
        for (const one of covering) {
          expect(covering.filter((other) => one.startsWith(other))).toEqual([one]);
        }
      }),
    );
  });
});

describe('merging', () => {
  test("adds ours behind others', which stay byte by byte", () => {
    const merged = mergeRules(configuration(others), ['in/', 'in/deep/', 'a&b<c>/'], settings) ?? '';
    for (const element of ['TopicConfiguration', 'QueueConfiguration']) {
      const kept = elementsOf(configuration(others), element);
      expect(elementsOf(merged, element).slice(0, kept.length)).toEqual(kept);
    }
    expect(elementsOf(merged, 'QueueConfiguration')).toHaveLength(3);
    expect(rulesCover(merged, ['in/', 'in/deep/', 'a&b<c>/'], settings)).toBe(true);
    expect(rulesCover(merged, ['out/'], settings)).toBe(false);
  });

  test('is done once, and undone to what was there', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 5 }),
        fc.boolean(),
        (prefixes, withOthers) => {
          const before = configuration(withOthers ? others : '');
          const merged = mergeRules(before, prefixes, settings);
          if (prefixes.length === 0) {
            expect(merged).toBeUndefined();
            return;
          }
          expect(mergeRules(merged ?? '', prefixes.toReversed(), settings)).toBeUndefined();
          const undone = mergeRules(merged ?? '', [], settings) ?? '';
          for (const element of ['TopicConfiguration', 'QueueConfiguration']) {
            expect(elementsOf(undone, element)).toEqual(elementsOf(before, element));
          }
        },
      ),
    );
  });

  test("writes none where another's rule tells the same target of all of it", () => {
    const whole = `<QueueConfiguration><Id>x</Id><Queue>${settings.arn}</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>`;
    expect(mergeRules(configuration(whole), ['in/'], settings)).toBeUndefined();
    expect(mergeRules(configuration(whole.replace('Created', 'Removed')), ['in/'], settings)).toBeDefined();
    expect(mergeRules(configuration(whole.replace('SLUICE', 'OTHER')), ['in/'], settings)).toBeDefined();
  });

  test('knows its target by the name that a server with a region gives it', () => {
    const told = (mergeRules(empty, ['in/'], settings) ?? '').replace('sqs::', 'sqs:us-east-1:');
    expect(mergeRules(told, ['in/'], settings)).toBeUndefined();
    expect(mergeRules(told.replace('SLUICE', 'OTHER'), ['in/'], settings)).toBeDefined();
  });

  test('mends a rule of ours that somebody changed', () => {
    const ours = mergeRules(empty, ['in/'], settings) ?? '';
    const changed = ours.replace('ObjectCreated:*', 'ObjectCreated:Put');
    expect(mergeRules(changed, ['in/'], settings)).toBe(ours);
  });
});
