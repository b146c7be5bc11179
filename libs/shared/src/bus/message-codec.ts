import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import {
  catalogue,
  hints,
  type HintContract,
  type HintName,
  type MessageContract,
  type MessageName,
} from '../contracts/index.ts';
import { AppError, messageOf } from '../errors/index.ts';
import type { OutgoingHint, OutgoingMessage } from './port.ts';

/** Bytes of a payload's JSON, at most: what a NATS server takes by default. */
const maxPayloadBytes = 1024 * 1024;
const maxIdLength = 200;

/** Puts payloads into JSON and back, held to their contracts. For adapters of the bus. */
export interface MessageCodec {
  /**
   * The JSON of a payload. Fields that the contract does not know are refused, so that no reader comes to rely on them.
   * @throws AppError `invalid_input` with the field at fault, `too_large`
   */
  encode(message: OutgoingMessage): string;
  /** The JSON of a hint's payload, held to the same rules. */
  encodeHint(hint: OutgoingHint): string;
  /**
   * The payload behind a stored JSON. Unknown fields pass: a newer writer may have added them.
   * @throws AppError `unprocessable` with a sentence for the dead letter
   */
  decode(name: MessageName, json: string): unknown;
  /** The payload of a hint, held to the same rules. */
  decodeHint(name: HintName, json: string): unknown;
}

/** A schema's check, compiled when it is first needed. */
interface Check {
  Check(value: unknown): boolean;
  Errors(value: unknown): readonly { instancePath: string; message: string }[];
}

export function createMessageCodec(): MessageCodec {
  const strict = lazily((name: MessageName) => Compile(closed(catalogue[name].schema)));
  const open = lazily((name: MessageName) => Compile(catalogue[name].schema));
  const strictHint = lazily((name: HintName) => Compile(closed(hints[name].schema)));
  const openHint = lazily((name: HintName) => Compile(hints[name].schema));
  return {
    encode: (message) => {
      checkEnvelope(message);
      checkPayload(strict(message.name), message);
      return toJson(message);
    },
    encodeHint: (hint) => {
      const contract: HintContract | undefined = Object.hasOwn(hints, hint.name)
        ? hints[hint.name]
        : undefined;
      checkAddress(contract, hint);
      checkPayload(strictHint(hint.name), hint);
      return toJson(hint);
    },
    decode: (name, json) => decodeChecked(open(name), name, json),
    decodeHint: (name, json) => decodeChecked(openHint(name), name, json),
  };
}

function decodeChecked(check: Check, name: string, json: string): unknown {
  const payload = fromJson(json);
  if (check.Check(payload)) return payload;
  const { path, problem } = firstFault(check, payload);
  throw new AppError(
    'unprocessable',
    `The stored payload breaks the contract of ${name}: ${path} ${problem}.`,
  );
}

/** A message of either kind, as far as its payload and its address go. */
interface Outgoing {
  readonly id?: string;
  readonly name: string;
  readonly key?: string;
  readonly payload: unknown;
}

function checkPayload(check: Check, { id, name, payload }: Outgoing): void {
  if (check.Check(payload)) return;
  const { path, problem } = firstFault(check, payload);
  throw new AppError('invalid_input', `The payload of ${name} breaks its contract: ${path} ${problem}.`, {
    field: path,
    details: { id, name },
  });
}

function lazily<N>(compile: (name: N) => Check): (name: N) => Check {
  const known = new Map<N, Check>();
  return (name) => {
    const check = known.get(name) ?? compile(name);
    known.set(name, check);
    return check;
  };
}

function checkEnvelope(message: OutgoingMessage): void {
  const contract: MessageContract | undefined = Object.hasOwn(catalogue, message.name)
    ? catalogue[message.name]
    : undefined;
  checkAddress(contract, message);
  if (message.id.length === 0 || message.id.length > maxIdLength) {
    throw new AppError('invalid_input', `A message id has 1 to ${maxIdLength} characters.`, { field: 'id' });
  }
}

function checkAddress(contract: { readonly keyed: boolean } | undefined, message: Outgoing): void {
  if (contract === undefined) {
    throw new AppError('invalid_input', `There is no message named ${message.name}.`, { field: 'name' });
  }
  if (contract.keyed !== (message.key !== undefined)) {
    const rule = contract.keyed ? 'needs a key' : 'has no key';
    throw new AppError('invalid_input', `${message.name} ${rule}.`, { field: 'key' });
  }
  if (message.key === '') throw new AppError('invalid_input', 'A key is not empty.', { field: 'key' });
}

function toJson(message: Outgoing): string {
  const json: string | undefined = JSON.stringify(message.payload);
  if (json === undefined) {
    throw new AppError('invalid_input', `The payload of ${message.name} is not JSON.`, { field: 'payload' });
  }
  // A UTF-16 unit has at most three bytes in UTF-8: short texts need not be measured.
  if (json.length * 3 > maxPayloadBytes && Buffer.byteLength(json) > maxPayloadBytes) {
    throw new AppError(
      'too_large',
      `The payload of ${message.name} has more than ${maxPayloadBytes} bytes.`,
      {
        details: { id: message.id },
      },
    );
  }
  return json;
}

function fromJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new AppError('unprocessable', `The stored payload is not JSON: ${messageOf(error)}.`, {
      cause: error,
    });
  }
}

function firstFault(check: Check, value: unknown): { readonly path: string; readonly problem: string } {
  const fault = check.Errors(value)[0];
  const path = (fault?.instancePath ?? '').split('/').slice(1).join('.');
  return { path: path === '' ? 'payload' : path, problem: fault?.message ?? 'is not valid' };
}

/** The same schema without room for fields that it does not name. */
function closed(schema: TSchema): TSchema {
  return closeNode(schema) as TSchema;
}

function closeNode(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closeNode);
  if (typeof node !== 'object' || node === null) return node;
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closeNode(value)]));
  const named = copy['type'] === 'object' && copy['properties'] !== undefined;
  return named && copy['additionalProperties'] === undefined
    ? { ...copy, additionalProperties: false }
    : copy;
}
