// Runs in a pod beside an installation: uploads files one after another through the API, as if from outside, until all of them are results. Prints what it saw as JSON.
import { setTimeout as delay } from 'node:timers/promises';

const { SLUICE_URL, SLUICE_PASSWORD, SERVICE, FILES } = process.env;
const wanted = Number(FILES);
const authorization = `Basic ${Buffer.from(`oscar:${SLUICE_PASSWORD}`).toString('base64')}`;
const refused = [];

async function ask(path, init) {
  try {
    // No connection is kept: each request meets whichever replica there is.
    const headers = { authorization, connection: 'close' };
    const answer = await fetch(`${SLUICE_URL}${path}`, { ...init, headers });
    const text = await answer.text();
    if (answer.ok) return text;
    refused.push(`${path}: ${answer.status} ${text}`);
  } catch (error) {
    refused.push(`${path}: ${error.cause?.code ?? error.message}`);
  }
  return undefined;
}

process.stdout.write('started\n');
for (let index = 0; index < wanted; index += 1) {
  await ask(`/system/buckets/${SERVICE}/objects/in/${index}.txt`, { method: 'PUT', body: `file ${index}\n` });
  await delay(1000);
}
const deadline = performance.now() + 180_000;
let states = [];
while (performance.now() < deadline) {
  const text = await ask(`/system/runs?service=${SERVICE}&limit=1000`);
  states = text === undefined ? states : JSON.parse(text).runs.map(({ state }) => state);
  if (states.filter((state) => state === 'succeeded').length >= wanted) break;
  await delay(1000);
}
const outputs = JSON.parse((await ask(`/system/buckets/${SERVICE}/objects?prefix=out/`)) ?? '{"objects":[]}');
process.stdout.write(`${JSON.stringify({ refused, states, outputs: outputs.objects.length })}\n`);
