import { AppError } from '@sluice/shared/errors';
import type { TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import type { SchemaNode } from '../domain/go-json-decode.ts';

/** What Go's `ParseBool` takes. */
const booleans = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((word) => [word, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((word) => [word, false] as const),
]);

type Check = (data: unknown) => { value: unknown } | { error: AppError };

/**
 * Checks parameters and queries against their schema, texts turned into numbers and truth values first; the first fault is
 * the answer, named. Compiled at the first use: the start does not wait for it.
 */
export function validatorCompiler({ schema }: { schema: unknown }): Check {
  const type = schema as TSchema;
  let validator: Validator | undefined;
  return (data) => {
    validator ??= Compile(type);
    const value = coerce(schema as SchemaNode, data);
    return validator.Check(value) ? { value } : { error: faultOf(validator, value) };
  };
}

function coerce(node: SchemaNode, data: unknown): unknown {
  if (node.properties === undefined || typeof data !== 'object' || data === null) return data;
  const { properties } = node;
  return Object.fromEntries(
    Object.entries(data).map(([name, value]: [string, unknown]) => [
      name,
      coerceText(properties[name], value),
    ]),
  );
}

function coerceText(node: SchemaNode | undefined, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (node?.type === 'integer') return /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (node?.type === 'boolean') return booleans.get(value) ?? value;
  return value;
}

function faultOf(validator: Validator, value: unknown): AppError {
  const [fault] = validator.Errors(value);
  const field = fault?.instancePath.replace(/^\//, '').replaceAll('/', '.') ?? '';
  const message = fault?.message ?? 'is not valid';
  return new AppError(
    'invalid_input',
    field === '' ? message : `${field}: ${message}`,
    field === '' ? {} : { field },
  );
}
