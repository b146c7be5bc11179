import type { RegistryLogins } from '@sluice/shared/adapters';
import { isAppError, messageOf } from '@sluice/shared/errors';
import { AttemptStop } from '../domain/attempt-stop.ts';
import type { ContainerNeeds } from '../domain/container-needs.ts';
import { parseImageReference, type ImageReference } from '../domain/image-reference.ts';
import type { ContainerEngine, EngineImage } from './container-engine.ts';
import { createImagePulls } from './image-pulls.ts';

/**
 * The image of an attempt, pulled before it is looked up, so that a tag means what the registry means by it now.
 * @throws AttemptStop `image_not_found`, `image_pull_failed` (worth another try)
 */
export type FindImage = (needs: ContainerNeeds) => Promise<EngineImage>;

export function createImageFinder(engine: ContainerEngine, logins: RegistryLogins): FindImage {
  const join = createImagePulls<ImageReference>(async (image) => pull(engine, logins, image));
  return async (needs) => {
    const reference = parseImageReference(needs.image);
    if (reference === undefined) {
      throw new AttemptStop('image_not_found', `"${needs.image}" is not the name of an image`);
    }
    const policy = needs.pullPolicy ?? (reference.pinned ? 'IfNotPresent' : 'Always');
    const present = policy === 'IfNotPresent' ? await engine.image(reference) : undefined;
    if (present !== undefined) return present;
    await join(reference.text, reference);
    const pulled = await engine.image(reference);
    if (pulled !== undefined) return pulled;
    throw new AttemptStop(
      'image_pull_failed',
      `the image ${reference.text} was removed after it was pulled`,
      {
        retryable: true,
      },
    );
  };
}

async function pull(engine: ContainerEngine, logins: RegistryLogins, image: ImageReference): Promise<void> {
  try {
    await engine.pull(image, await logins(image.registry));
  } catch (error) {
    if (isAppError(error, 'not_found') || isAppError(error, 'invalid_input')) {
      const message = `the image ${image.text} was not found, or the registry does not show it to this server: ${messageOf(error)}`;
      throw new AttemptStop('image_not_found', message, { cause: error });
    }
    if (!isAppError(error)) throw error;
    const message = `the image ${image.text} could not be pulled: ${messageOf(error)}`;
    throw new AttemptStop('image_pull_failed', message, { retryable: true, cause: error });
  }
}
