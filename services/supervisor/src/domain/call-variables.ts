import type { RunnerCall } from '@sluice/shared/contracts';

/**
 * What a script finds of the caller's request (OSCAR §5.3): `Http_Method`, `Http_Path`, `Http_Query`, the body's length under both of its
 * names, and each header as `Http_` and its name in Go's spelling (`content-type` is `Http_Content_Type`). A header cannot take the place of
 * the others, and `Proxy` is left out: some programs would send their requests there.
 */
export function callVariables(
  call: Pick<RunnerCall, 'method' | 'path' | 'query' | 'headers'>,
  bodyBytes: number,
): readonly (readonly [name: string, value: string])[] {
  const variables = new Map<string, string>();
  for (const [header, value] of Object.entries(call.headers)) {
    if (header.toLowerCase() !== 'proxy') variables.set(`Http_${variableName(header)}`, value);
  }
  variables.set('Http_Method', call.method);
  variables.delete('Http_Path');
  variables.delete('Http_Query');
  if (call.path !== '') variables.set('Http_Path', call.path);
  if (call.query !== '') variables.set('Http_Query', call.query);
  variables.set('Http_ContentLength', String(bodyBytes));
  variables.set('Http_Content_Length', String(bodyBytes));
  return [...variables];
}

function variableName(header: string): string {
  const words = header.toLowerCase().replaceAll(/[^a-z0-9]/g, '_');
  return words.replaceAll(/(?:^|_)[a-z]/g, (start) => start.toUpperCase());
}
