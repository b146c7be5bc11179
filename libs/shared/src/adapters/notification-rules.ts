import { createHash } from 'node:crypto';
import { elementsOf, escapeXml, textOf } from './s3-xml.ts';

/** What rules of ours say, and by what they are known. */
export interface RuleSettings {
  /** Several installations may have rules on one bucket: each knows its own by this. */
  readonly namespace: string;
  /** Target of the S3 server. */
  readonly arn: string;
}

/** One entry of a bucket's notification configuration, as it was read. */
interface Entry {
  readonly element: string;
  readonly xml: string;
}

const elements = [
  'QueueConfiguration',
  'TopicConfiguration',
  'CloudFunctionConfiguration',
  'EventBridgeConfiguration',
];
const created = 's3:ObjectCreated:*';
/** What neither XML nor MinIO takes in a filter: a rule ends before it and so covers more, which is filtered again. */
const notInFilter = /[^\t\n\r\u{20}-\u{5b}\u{5d}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u;

/** The fewest prefixes below which everything below these lies, in order. Servers refuse rules that overlap, or say things twice. */
export function coveringPrefixes(prefixes: readonly string[]): readonly string[] {
  const covering: string[] = [];
  for (const prefix of prefixes.map(filterOf).toSorted()) {
    const last = covering.at(-1);
    if (last === undefined || !prefix.startsWith(last)) covering.push(prefix);
  }
  return covering;
}

/**
 * A bucket's configuration with rules of ours for exactly these prefixes, others' entries as they were.
 * @param current the configuration as the server gave it
 * @returns undefined where it is so already
 */
export function mergeRules(
  current: string,
  prefixes: readonly string[],
  settings: RuleSettings,
): string | undefined {
  const entries = entriesOf(current);
  const ours = entries.filter((entry) => isOurs(entry, settings));
  const others = entries.filter((entry) => !ours.includes(entry));
  const wanted = coveringPrefixes(prefixes).filter((prefix) => !isCovered(others, prefix, settings));
  const isSame =
    ours.length === wanted.length &&
    wanted.every((prefix) =>
      ours.some((entry) => idOf(entry) === ruleId(prefix, settings) && isCovered([entry], prefix, settings)),
    );
  if (isSame) return undefined;
  const rules = wanted.map((prefix) => ruleXml(prefix, settings));
  const kept = others.map(({ element, xml }) => `<${element}>${xml}</${element}>`);
  return `<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${[...kept, ...rules].join('')}</NotificationConfiguration>`;
}

/** Whether what is created below each of these prefixes is told to the target, by whosoever's rule. */
export function rulesCover(current: string, prefixes: readonly string[], settings: RuleSettings): boolean {
  const entries = entriesOf(current);
  return coveringPrefixes(prefixes).every((prefix) => isCovered(entries, prefix, settings));
}

function entriesOf(configuration: string): readonly Entry[] {
  return elements.flatMap((element) => elementsOf(configuration, element).map((xml) => ({ element, xml })));
}

function filterOf(prefix: string): string {
  const end = prefix.search(notInFilter);
  const cut = end < 0 ? prefix : prefix.slice(0, end);
  // MinIO refuses a filter with a part of dots only; keys have none, but a cut may make one.
  return cut.replace(/(^|\/)\.{1,2}$/, '$1');
}

function ruleId(prefix: string, { namespace }: RuleSettings): string {
  return `sluice-${namespace}-${createHash('sha256').update(prefix).digest('hex').slice(0, 16)}`;
}

function idOf({ xml }: Entry): string {
  return textOf(xml, 'Id') ?? textOf(xml, 'ID') ?? '';
}

/** The whole id: another namespace's may begin with ours. */
function isOurs(entry: Entry, { namespace }: RuleSettings): boolean {
  const id = idOf(entry);
  const start = `sluice-${namespace}-`;
  return (
    entry.element === 'QueueConfiguration' &&
    id.startsWith(start) &&
    /^[0-9a-f]{16}$/.test(id.slice(start.length))
  );
}

function isCovered(entries: readonly Entry[], prefix: string, { arn }: RuleSettings): boolean {
  return entries.some(({ element, xml }) => {
    if (element !== 'QueueConfiguration' || !isSameTarget(textOf(xml, 'Queue') ?? '', arn)) return false;
    const events = elementsOf(xml, 'Event');
    if (!events.includes(created)) return false;
    let covered = true;
    for (const rule of elementsOf(xml, 'FilterRule')) {
      const value = textOf(rule, 'Value') ?? '';
      const isPrefix = textOf(rule, 'Name')?.toLowerCase() === 'prefix';
      covered &&= isPrefix ? prefix.startsWith(value) : value === '';
    }
    return covered;
  });
}

/** A MinIO that has a region puts it into the names of its targets. */
function isSameTarget(a: string, b: string): boolean {
  const [one, other] = [a.split(':'), b.split(':')];
  const isRegion = (at: number): boolean => at === 3 && (one[at] === '' || other[at] === '');
  return one.length === other.length && one.every((part, at) => part === other[at] || isRegion(at));
}

function ruleXml(prefix: string, settings: RuleSettings): string {
  const filter =
    prefix === ''
      ? ''
      : `<Filter><S3Key><FilterRule><Name>prefix</Name><Value>${escapeXml(prefix)}</Value></FilterRule></S3Key></Filter>`;
  return `<QueueConfiguration><Id>${escapeXml(ruleId(prefix, settings))}</Id><Queue>${escapeXml(settings.arn)}</Queue><Event>${created}</Event>${filter}</QueueConfiguration>`;
}
