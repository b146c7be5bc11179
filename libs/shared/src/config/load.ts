import { Secret } from './secret.ts';

/** One faulty variable, said so that it can be mended. */
export interface ConfigFault {
  readonly variable: string;
  readonly message: string;
}

/** Every fault of the environment at once. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    super(
      `The configuration is not valid:\n${faults.map((fault) => `  ${fault.variable}: ${fault.message}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/** How one variable is read: text in, value or fault out. */
export interface Variable<T> {
  /** One line of why it exists, for the generated page. */
  readonly why: string;
  /** The form a value has, for messages and the page: `a port, 1 to 65535`. */
  readonly form: string;
  readonly fallback: { readonly value: T } | undefined;
  /** Throws an `Error` whose message says what is wrong. */
  readonly parse: (text: string) => T;
}

export type Variables = Readonly<Record<string, Variable<unknown>>>;
export type ConfigOf<V extends Variables> = {
  readonly [K in keyof V]: V[K] extends Variable<infer T> ? T : never;
};

/** Reads the text of a `*_FILE` variable; throws when it can't. */
export type ReadFile = (path: string) => string;

/**
 * Reads variables from an environment, `NAME_FILE` (a file with the value, as container secrets are mounted) included.
 * @throws ConfigError with all faults: malformed, missing, given twice
 */
export function loadConfig<V extends Variables>(
  variables: V,
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): ConfigOf<V> {
  const faults: ConfigFault[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, variable] of Object.entries(variables)) {
    try {
      const text = textOf(name, env, readFile);
      values[name] = text === undefined ? fallbackOf(variable) : variable.parse(text);
    } catch (error) {
      faults.push({ variable: name, message: error instanceof Error ? error.message : String(error) });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return Object.freeze(values) as ConfigOf<V>;
}

function textOf(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): string | undefined {
  // An empty value counts as absent: compose files and Helm charts set empty strings for "not set".
  const text = env[name] === '' ? undefined : env[name];
  const path = env[`${name}_FILE`] === '' ? undefined : env[`${name}_FILE`];
  if (path === undefined) return text;
  if (text !== undefined) throw new Error(`is set together with ${name}_FILE; keep one of the two`);
  try {
    return readFile(path).replace(/\r?\n$/, '');
  } catch (error) {
    throw new Error(
      `${name}_FILE cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

function fallbackOf(variable: Variable<unknown>): unknown {
  if (variable.fallback === undefined) throw new Error(`is missing; give ${variable.form}`);
  return variable.fallback.value;
}

interface Spec<T> {
  readonly why: string;
  /** Value when the variable is absent; without it the variable is required. */
  readonly fallback?: T;
}

function variable<T>(form: string, spec: Spec<T>, parse: (text: string) => T): Variable<T> {
  return {
    why: spec.why,
    form,
    fallback: 'fallback' in spec ? { value: spec.fallback } : undefined,
    parse,
  };
}

/** Any text. */
export function text<T extends string | undefined = string>(spec: Spec<T>): Variable<string | T> {
  return variable<string | T>('a text', spec, (value) => value);
}

/** A text that must not be shown. */
export function secret<T extends Secret | undefined = Secret>(spec: Spec<T>): Variable<Secret | T> {
  return variable<Secret | T>('a secret text', spec, (value) => new Secret(value));
}

/** A whole number in a range; a float with an integral value counts (OSCAR §8). */
export function integer<T extends number | undefined = number>(
  spec: Spec<T> & { min: number; max: number },
): Variable<number | T> {
  const form = `a whole number, ${spec.min} to ${spec.max}`;
  return variable<number | T>(form, spec, (value) => {
    const number = Number(value.trim() === '' ? Number.NaN : value);
    if (!Number.isInteger(number) || number < spec.min || number > spec.max) {
      throw new Error(`"${value}" is not ${form}`);
    }
    return number;
  });
}

const booleans: Readonly<Record<string, boolean>> = {
  '1': true,
  t: true,
  T: true,
  TRUE: true,
  true: true,
  True: true,
  '0': false,
  f: false,
  F: false,
  FALSE: false,
  false: false,
  False: false,
};

/** What Go's `ParseBool` takes (OSCAR §8). */
export function boolean(spec: Spec<boolean>): Variable<boolean> {
  return variable('true or false', spec, (value) => {
    const parsed = booleans[value];
    if (parsed === undefined) throw new Error(`"${value}" is not true or false`);
    return parsed;
  });
}

/** One of a few words. */
export function oneOf<const W extends string>(words: readonly W[], spec: Spec<W>): Variable<W> {
  const form = `one of ${words.join(', ')}`;
  return variable<W>(form, spec, (value) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw new Error(`"${value}" is not ${form}`);
    return found;
  });
}
