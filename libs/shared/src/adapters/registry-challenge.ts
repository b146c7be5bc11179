/** One way in that a registry offers in `WWW-Authenticate` (RFC 9110 §11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const token = /[A-Za-z0-9!#$%&'*+.^_`|~-]+/y;
const parameter = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?/y;

/** Reads the header; what is not of its form ends the reading. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  for (;;) {
    while (/[\s,]/.test(header.charAt(at))) at += 1;
    token.lastIndex = at;
    const scheme = token.exec(header)?.[0];
    if (scheme === undefined) return challenges;
    at = token.lastIndex;
    const parameters: Record<string, string> = {};
    for (;;) {
      parameter.lastIndex = at;
      const match = parameter.exec(header);
      if (match === null) break;
      const [, name = '', quoted, bare] = match;
      parameters[name.toLowerCase()] = quoted?.replaceAll(/\\(.)/g, '$1') ?? bare ?? '';
      at = parameter.lastIndex;
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
}
