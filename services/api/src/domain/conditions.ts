import { AppError } from '@sluice/shared/errors';

/** The conditional headers of RFC 9110 §13, as far as objects know them. */
export interface Conditions {
  /** Etag that the object must have. */
  readonly ifMatch?: string;
  /** `*`: there must be no object. A list: answer 304 where the object has one of these (GET and HEAD). */
  readonly ifNoneMatch?: '*' | readonly string[];
}

const etag = /^(?:W\/)?(?:"[^"]*"|[^"\s]+)$/;

/**
 * Reads `If-Match` and `If-None-Match`; etags may stand without quotes, as S3 clients send them.
 * @throws AppError `invalid_input` naming the header
 */
export function readConditions(headers: {
  readonly 'if-match'?: string;
  readonly 'if-none-match'?: string;
}): Conditions {
  const match = tagsOf(headers['if-match'], 'If-Match');
  const none = tagsOf(headers['if-none-match'], 'If-None-Match');
  if (Array.isArray(match) && match.length > 1) {
    throw new AppError('invalid_input', 'If-Match takes one etag.', { field: 'If-Match' });
  }
  const [first] = match === '*' || match === undefined ? [] : match;
  return {
    ...(first === undefined ? {} : { ifMatch: first }),
    ...(none === undefined ? {} : { ifNoneMatch: none }),
  };
}

function tagsOf(header: string | undefined, name: string): '*' | string[] | undefined {
  const text = header?.trim();
  if (text === undefined) return undefined;
  if (text === '*') return '*';
  const tags = text.split(',').map((tag) => tag.trim());
  if (!tags.every((tag) => etag.test(tag))) {
    throw new AppError('invalid_input', `${name} is not a list of etags.`, { field: name });
  }
  return tags.map((tag) => tag.replace(/^W\//, '').replace(/^"(.*)"$/, '$1'));
}
