/** Which adapter stands behind each port, and which variable chose it. */
export const adaptersChosen = [
  { port: 'bus', adapter: 'SQLite', chosenBy: 'the only one of this version' },
  { port: 'definitions', adapter: 'SQLite', chosenBy: 'the only one of this version' },
  { port: 'ledger', adapter: 'SQLite', chosenBy: 'the only one of this version' },
  { port: 'objects', adapter: 'folders', chosenBy: 'the only one of this version' },
  { port: 'executor', adapter: 'processes', chosenBy: 'the only one of this version' },
  { port: 'builds', adapter: 'none', chosenBy: 'not in this version' },
] as const;
