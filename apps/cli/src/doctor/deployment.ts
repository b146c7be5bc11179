import { listIn, record, textIn } from '../api/wire.ts';
import type { Context } from '../context.ts';
import { failure, ok, warning, type Check } from './check.ts';

/** Of no process: what concerns the installation as a whole. */
const whole = 'installation';

interface Found {
  readonly component: string;
  readonly check: Check;
}

/** What the server's processes find of themselves and of their neighbours; nothing from servers that do not tell. */
export async function deploymentChecks({ api }: Pick<Context, 'api'>): Promise<readonly Check[]> {
  const answer = await api.checks();
  if (answer === undefined) return [];
  const processes = listIn(answer['processes'], '"processes"').map((raw) => record(raw, 'a process'));
  const counts = new Map<string, number>();
  const found: Found[] = listIn(answer['checks'], '"checks"')
    .map((raw) => ({ component: whole, check: checkOf(raw) }))
    // The overview has told of them.
    .filter(({ check }) => check.check !== 'dead letters');
  for (const process of processes) {
    const component = textIn(process, 'component') ?? '?';
    counts.set(component, (counts.get(component) ?? 0) + 1);
    for (const raw of listIn(process['checks'], '"checks"')) found.push({ component, check: checkOf(raw) });
  }
  return folded(found, counts);
}

function checkOf(raw: unknown): Check {
  const source = record(raw, 'a check');
  const name = textIn(source, 'name') ?? '?';
  const message = textIn(source, 'message') ?? '';
  if (source['ok'] === true) return ok(name, message);
  const mend = textIn(source, 'mend') ?? 'Look at the log of that process.';
  return source['severity'] === 'error' ? failure(name, message, mend) : warning(name, message, mend);
}

/** Processes of one component that find the same say it once, and how many they are where not all do. */
function folded(found: readonly Found[], counts: ReadonlyMap<string, number>): readonly Check[] {
  const groups = new Map<string, { readonly one: Found; times: number }>();
  for (const one of found) {
    const { check, status, detail } = one.check;
    const key = JSON.stringify([one.component, check, status, detail]);
    const group = groups.get(key) ?? { one, times: 0 };
    group.times += 1;
    groups.set(key, group);
  }
  return [...groups.values()].map(({ one: { component, check }, times }) => {
    const all = counts.get(component) ?? times;
    const detail = times < all ? `${check.detail} (${times} of ${all} processes)` : check.detail;
    return { ...check, component, detail };
  });
}
