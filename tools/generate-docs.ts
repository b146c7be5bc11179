// Writes the parts of docs/ that come from code; `--check` compares instead and fails where they differ, or where a link leads nowhere.
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  catalogue,
  hints,
  hintSubject,
  subjectOf,
  type HintName,
  type MessageName,
} from '@sluice/shared/contracts';
import { componentVariables } from '../apps/distributed/src/variables.ts';
import type { Variable } from '@sluice/shared/config';
import { fdlJsonSchema } from '../apps/cli/src/fdl/json-schema.ts';
import { variables } from '../apps/standalone/src/variables.ts';
import { fdlTable } from './fdl-table.ts';
import { metricsTable } from './metrics-table.ts';
import { version } from '../apps/standalone/src/version.ts';
import { describeApi } from '../services/api/src/http/openapi/describe.ts';

const marker = (name: string): readonly [string, string] => [
  `<!-- generated: ${name}, by "npm run docs" -->`,
  `<!-- end of ${name} -->`,
];

/** Defaults that depend on the machine are said in words. */
const machineDependent: Readonly<Record<string, string>> = {
  SLUICE_CPU: "the machine's cores",
  SLUICE_MEMORY: "four fifths of the machine's memory",
};

type Variables = Readonly<Record<string, Variable<unknown>>>;

function variableTable(): string {
  return tableOf(variables);
}

/** Those that several components read come first, with the components that do. */
function componentTables(): string {
  const all = Object.entries(componentVariables) as [string, Variables][];
  const readers = new Map<string, string[]>();
  for (const [component, read] of all)
    for (const name of Object.keys(read)) readers.set(name, [...(readers.get(name) ?? []), component]);
  const merged: Variables = Object.assign({}, ...all.map(([, read]) => read));
  const groups = Map.groupBy(Object.entries(merged), ([name]) => (readers.get(name) ?? []).join(', '));
  const sorted = [...groups].sort(([a], [b]) => b.split(', ').length - a.split(', ').length);
  return sorted.map(([who, entries]) => `**${who}**\n\n${tableOf(Object.fromEntries(entries))}`).join('\n\n');
}

function tableOf(read: Variables): string {
  const rows = Object.entries(read).map(([name, variable]) => {
    const value = variable.fallback?.value;
    const fallback =
      machineDependent[name] ??
      (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
        ? value === ''
          ? 'none'
          : `\`${value}\``
        : 'none');
    return `| \`${name}\` | ${fallback} | ${variable.form} | ${variable.why} |`;
  });
  return ['| variable | default | form | why |', '|---|---|---|---|', ...rows].join('\n');
}

function messageTable(): string {
  const rows = (Object.keys(catalogue) as MessageName[]).map((name) => {
    const { owner, keyed, summary } = catalogue[name];
    const subject = subjectOf('sluice', name) + (keyed ? '.<service>' : '');
    return `| \`${subject}\` | ${owner} | ${summary} |`;
  });
  return ['| subject | owner | meaning |', '|---|---|---|', ...rows].join('\n');
}

function hintTable(): string {
  const rows = (Object.keys(hints) as HintName[]).map((name) => {
    const { owner, keyed, summary } = hints[name];
    return `| \`${hintSubject('sluice', name)}${keyed ? '.<service>' : ''}\` | ${owner === 'every' ? 'every process' : owner} | ${summary} |`;
  });
  return ['| subject | said by | meaning |', '|---|---|---|', ...rows].join('\n');
}

const parts = [
  { file: 'docs/operation.md', name: 'variables', text: variableTable() },
  { file: 'docs/deploy.md', name: 'component variables', text: componentTables() },
  { file: 'docs/architecture.md', name: 'messages', text: messageTable() },
  { file: 'docs/architecture.md', name: 'hints', text: hintTable() },
  { file: 'docs/fdl.md', name: 'keys', text: fdlTable() },
  { file: 'docs/metrics.md', name: 'metrics', text: await metricsTable() },
];

for (const part of parts) {
  const path = fileURLToPath(new URL(`../${part.file}`, import.meta.url));
  const before = readFileSync(path, 'utf8');
  const [begin, end] = marker(part.name);
  const from = before.indexOf(begin);
  const to = before.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${part.file} has no place for ${part.name}: ${begin} … ${end}`);
  const after = `${before.slice(0, from + begin.length)}\n${part.text}\n${before.slice(to)}`;
  if (after === before) continue;
  if (process.argv.includes('--check')) {
    process.stderr.write(
      `${part.file} does not tell of the ${part.name} that there are: run "npm run docs".\n`,
    );
    process.exitCode = 1;
  } else {
    writeFileSync(path, after);
  }
}

/** Files that come from code as a whole. */
const wholes = [
  {
    file: 'docs/openapi.json',
    what: 'does not tell of the routes that there are',
    text: `${JSON.stringify(await describeApi(version), null, 1)}\n`,
  },
  {
    file: 'docs/fdl.schema.json',
    what: 'is not the schema of the FDL files that the client reads',
    text: `${JSON.stringify(fdlJsonSchema(), null, 1)}\n`,
  },
];

for (const { file, what, text } of wholes) {
  const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (process.argv.includes('--check')) {
    process.stderr.write(`${file} ${what}: run "npm run docs".\n`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, text);
  }
}

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md'], {
  cwd: root,
  exclude: (path) => path.includes('node_modules'),
});
for (const page of pages) {
  for (const [, target = ''] of readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
    if (/^[a-z]+:/.test(target) || existsSync(join(root, dirname(page), target))) continue;
    process.stderr.write(`${page} links to ${target}, which does not exist.\n`);
    process.exitCode = 1;
  }
}
