/**
 * Who this process runs as, for people: the name, or the number of a user that the machine has no entry for, as in many containers.
 * @param read `userInfo` of `node:os`, which throws for such a user
 */
export function userName(read: () => { readonly username: string }, uid: number | undefined): string {
  try {
    return read().username;
  } catch {
    return uid === undefined ? 'unknown' : String(uid);
  }
}
