import { stripVTControlCharacters } from 'node:util';

/** What a masked secret reads as. */
const masked = '[redacted]';
/** Shorter ones would make every log unreadable, and are no secrets. */
const shortestSecret = 3;
/** How much of a line is looked at for secrets beyond what is kept of it: one that is cut in two would not be found. */
const overlap = 2048;

/** A line of output as a person may see it: without escape sequences and control characters, of a progress bar its last state. */
export function cleanLine(text: string): string {
  const bare = stripVTControlCharacters(text.replace(/\r+$/, ''));
  // oxlint-disable-next-line no-control-regex -- they are what is removed
  return bare.slice(bare.lastIndexOf('\r') + 1).replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

/**
 * Makes texts fit to be shown: secrets masked, then cut.
 * @param maxLength in UTF-16 units
 */
export function createMask(secrets: readonly string[], maxLength: number): (text: string) => string {
  const hidden = [...new Set(secrets)].filter((one) => one.length >= shortestSecret);
  // One may hold another.
  hidden.sort((a, b) => b.length - a.length);
  return (text) => {
    let shown = text.slice(0, maxLength + overlap);
    for (const one of hidden) shown = shown.replaceAll(one, masked);
    return cutText(shown, maxLength);
  };
}

/** A password in all the forms that a registry's client may write it in. */
export function secretForms({
  username,
  password,
}: {
  readonly username: string;
  readonly password: string;
}): readonly string[] {
  const pair = Buffer.from(`${username}:${password}`).toString('base64');
  const forms = [
    password,
    encodeURIComponent(password),
    Buffer.from(password).toString('base64'),
    pair,
    // In JSON, and as Go prints strings.
    JSON.stringify(password).slice(1, -1),
  ];
  return [...forms, ...forms.map((one) => one.replace(/=+$/, ''))];
}

/** The beginning of a text, never half of a character. */
export function cutText(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const end = text.charCodeAt(maxLength - 1);
  return text.slice(0, end >= 0xd800 && end <= 0xdbff ? maxLength - 1 : maxLength);
}
