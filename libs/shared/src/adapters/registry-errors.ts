import { AppError } from '../errors/index.ts';
import type { RegistryAnswer } from './registry-transport.ts';

const maxPauseSeconds = 86_400;

/** What a registry's refusal means; the status alone counts, never its text. */
export function registryFailure(
  target: { readonly registry: string; readonly repository: string },
  answer: Pick<RegistryAnswer, 'status' | 'header'>,
  image = `${target.registry}/${target.repository}`,
): AppError {
  const { status } = answer;
  const details = { status, image };
  const pause = retryAfter(answer);
  switch (status) {
    case 401:
    case 403:
      return new AppError(
        'forbidden',
        `The registry ${target.registry} gives no access to ${image}: it is not there, or needs a login.`,
        { details },
      );
    case 404:
      return new AppError('not_found', `There is no image ${image}.`, { details });
    case 429:
      return new AppError('limit_reached', `The registry ${target.registry} wants fewer requests.`, {
        details,
        ...pause,
      });
    default:
      break;
  }
  if (status < 500 && status !== 408) {
    return new AppError(
      'unsupported',
      `The registry ${target.registry} refuses this for ${image} (${status}).`,
      {
        details,
      },
    );
  }
  return new AppError('unavailable', `The registry ${target.registry} fails (${status}).`, {
    details,
    ...pause,
  });
}

function retryAfter(answer: Pick<RegistryAnswer, 'header'>): { retryAfterSeconds?: number } {
  const given = answer.header('retry-after') ?? '';
  return /^\d{1,6}$/.test(given) ? { retryAfterSeconds: Math.min(Number(given), maxPauseSeconds) } : {};
}
