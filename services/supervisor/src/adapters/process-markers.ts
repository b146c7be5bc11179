/**
 * True where an environment as `/proc/<pid>/environ` gives it (strings that end with a zero byte) holds all the markers.
 * @param markers `NAME=value`
 */
export function isMarked(environment: Buffer, markers: readonly string[]): boolean {
  return markers.every((marker) => {
    const wanted = Buffer.from(`${marker}\0`);
    for (let at = environment.indexOf(wanted); at !== -1; at = environment.indexOf(wanted, at + 1)) {
      if (at === 0 || environment[at - 1] === 0) return true;
    }
    return false;
  });
}

/**
 * Process ids of the lines that hold all the markers, in what macOS's `ps -axEww -o pid=,command=` prints: the id, the command with its
 * arguments, then the environment, parted by spaces. Markers must hold no space.
 */
export function markedInListing(listing: string, markers: readonly string[]): readonly number[] {
  const pids: number[] = [];
  for (const line of listing.split('\n')) {
    const words = new Set(line.trim().split(' '));
    const [first] = words;
    if (first !== undefined && /^[0-9]+$/.test(first) && markers.every((marker) => words.has(marker))) {
      pids.push(Number(first));
    }
  }
  return pids;
}
