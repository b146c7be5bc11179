/** What one call holds of the memory for answers. */
export interface AnswerShare {
  /** False: there is no room for so many bytes more now; nothing is counted. */
  hold(bytes: number): boolean;
  /** Gives back all that it holds. */
  release(): void;
}

/**
 * Counts the bytes of all answers in hand, from what a script prints to the last byte sent: callers who read slowly must not
 * take the memory of all.
 */
export function createAnswerMemory(limit: number): { share(): AnswerShare } {
  let held = 0;
  return {
    share: () => {
      let mine = 0;
      return {
        hold: (bytes) => {
          if (held + bytes > limit) return false;
          held += bytes;
          mine += bytes;
          return true;
        },
        release: () => {
          held -= mine;
          mine = 0;
        },
      };
    },
  };
}

/** Why an answer was not made although the script did what it should. */
export const answersCrowded =
  'The script ran, but all answers in hand together would take too much memory (SLUICE_CALL_RESPONSE_MEMORY). Call again.';
