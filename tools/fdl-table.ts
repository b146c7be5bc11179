import { fdlJsonSchema } from '../apps/cli/src/fdl/json-schema.ts';

interface Node {
  readonly $ref?: string;
  readonly allOf?: readonly Node[];
  readonly anyOf?: readonly Node[];
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly unknown[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly definitions?: Readonly<Record<string, Node>>;
}

/** Every key of a service in an FDL file, from the schema that editors and the client use. Keys that OSCAR writes in two ways are shown once. */
export function fdlTable(): string {
  const schema = fdlJsonSchema() as unknown as Node;
  const service = schema.definitions?.['service'];
  if (service === undefined) throw new Error('the schema of FDL files has no services');
  return ['| key | meaning | for example |', '|---|---|---|', ...rowsOf(service, '', schema)].join('\n');
}

function rowsOf(node: Node, prefix: string, schema: Node): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, given]) => {
    if ((given.description ?? '').startsWith('The same as ')) return [];
    const child = resolved(given, schema);
    const many = child.items !== undefined && child.items.properties !== undefined;
    const key = `${prefix}${name}${many ? '[]' : ''}`;
    const needed = node.required?.includes(name) === true ? ' Required.' : '';
    const meaning = `${(given.description ?? child.description ?? '').replaceAll('|', '\\|')}${needed}`;
    const examples = (given.examples ?? child.examples ?? []).map((one) => `\`${text(one)}\``).join(', ');
    const below = many ? (child.items ?? {}) : child;
    return [`| \`${key}\` | ${meaning} | ${examples} |`, ...rowsOf(below, `${key}.`, schema)];
  });
}

function text(example: unknown): string {
  return typeof example === 'string' ? example : JSON.stringify(example);
}

function resolved(node: Node, schema: Node): Node {
  const [reference] = node.allOf ?? node.anyOf ?? [];
  const name = (node.$ref ?? reference?.$ref)?.split('/').at(-1);
  return name === undefined ? node : (schema.definitions?.[name] ?? node);
}
