import type { ContainerView } from './kube-views.ts';

/** Reasons of a container that could not be made to run at all. */
export function isStartError(reason: string): boolean {
  return ['StartError', 'ContainerCannotRun'].includes(reason) || reason.endsWith('ContainerError');
}

/** As runc, crun and others say it. */
const noShell = /\/bin\/sh\b.*(?:no such file|not found)/is;

/**
 * What has to be mended in an image whose container could not be started.
 * @param image its name, perhaps with the digest that its tag stood for
 * @returns undefined where only the cluster's own words tell
 */
export function imageFault(
  image: string | undefined,
  said: NonNullable<ContainerView['ended']>['message'],
): string | undefined {
  if (said === undefined || !noShell.test(said)) return undefined;
  const name = image?.replace(/(:[^/@:]+)@.*$/, '$1');
  return `the image${name === undefined ? '' : ` ${name}`} has no /bin/sh, which runs the script: use an image with a shell`;
}
