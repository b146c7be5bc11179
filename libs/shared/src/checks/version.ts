/** Whether a version (`v1.34.4+k3s1`, `2.10.0-beta`) is at least this one; undefined where it is none. */
export function isAtLeast(version: string, least: readonly [number, number]): boolean | undefined {
  const found = /^v?(\d+)\.(\d+)/.exec(version);
  if (found === null) return undefined;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > least[0] || (major === least[0] && minor >= least[1]);
}
