import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

// What a call costs at least: a server that does nothing but run a script for each request. Its arguments are a folder, a script, and where it listens.
const [folder = '', script = '', port = '0', host = '127.0.0.1'] = process.argv.slice(2);
let number = 0;

const server = createServer((request, response) => {
  const handle = async (): Promise<void> => {
    number += 1;
    const input = join(folder, `bare-${number}`);
    await writeFile(input, Buffer.from((await buffer(request)).toString(), 'base64'));
    const child = spawn('/bin/sh', [script], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], INPUT_FILE_PATH: input },
    });
    child.stderr.resume();
    const [output] = await Promise.all([buffer(child.stdout), once(child, 'close')]);
    response.end(output);
  };
  handle().catch(() => response.destroy());
});
server.listen(Number(port), host, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
