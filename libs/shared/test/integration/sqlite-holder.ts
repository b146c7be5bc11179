import { open } from './sqlite-fixture.ts';

/** Opens a database, says so, and holds it until it is killed. */
open(process.argv[2] ?? '');
process.stdout.write('open\n');
setInterval(() => undefined, 60_000);
