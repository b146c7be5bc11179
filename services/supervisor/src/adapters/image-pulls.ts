/**
 * Joins pulls of one image that are asked for at the same time. One that is under way may have read the tag before the image was pushed again, so
 * whoever comes during it waits for the next; all who wait share that one. At most one of each image is under way.
 * @param pull the real thing
 */
export function createImagePulls<T>(
  pull: (image: T) => Promise<void>,
): (name: string, image: T) => Promise<void> {
  const current = new Map<string, { readonly running: Promise<void>; next: Promise<void> | undefined }>();
  const begin = async (name: string, image: T): Promise<void> => {
    const running = pull(image);
    const entry = { running, next: undefined };
    current.set(name, entry);
    try {
      await running;
    } finally {
      if (current.get(name) === entry) current.delete(name);
    }
  };
  return (name, image) => {
    const entry = current.get(name);
    if (entry === undefined) return begin(name, image);
    entry.next ??= entry.running.then(
      async () => begin(name, image),
      async () => begin(name, image),
    );
    return entry.next;
  };
}
