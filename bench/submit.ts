import autocannon from 'autocannon';

/** `POST /job` over 64 connections; resolves with how many were accepted in a second. */
export async function submitJobs(
  target: { readonly url: string; readonly token: string },
  service: string,
  amount: number,
): Promise<number> {
  const started = performance.now();
  let last = started;
  const { promise, resolve, reject } = Promise.withResolvers<autocannon.Result>();
  const settings: autocannon.Options = {
    url: `${target.url}/job/${service}`,
    method: 'POST',
    headers: { authorization: `Bearer ${target.token}` },
    body: '{"hello":"world"}',
    amount,
    connections: Math.min(64, amount),
  };
  autocannon(settings, (error: Error | null, done) => {
    if (error === null) resolve(done);
    else reject(error);
  }).on('response', () => {
    // It ends on whole seconds, long after the last answer.
    last = performance.now();
  });
  const result = await promise;
  if (result['2xx'] !== amount)
    throw new Error(`${result.non2xx} of ${amount} calls were refused, ${result.errors} failed`);
  return amount / ((last - started) / 1000);
}
