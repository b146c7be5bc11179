/** What a script finds that looks for all that it was not given. */
export const lookAround = `
echo '== env'; env
echo '== processes'
for p in /proc/[0-9]*; do echo "-- $p"; tr '\\0' '\\n' <$p/environ; tr '\\0' ' ' <$p/cmdline; done 2>/dev/null
echo '== mounts'; cat /proc/mounts
echo '== secrets'; ls -laR /var/run/secrets /run/secrets 2>/dev/null
echo '== folder'; ls -laR /sluice
echo '== files'; find /sluice -type f -exec cat {} + 2>/dev/null
find / -xdev -name '*token*' -type f 2>/dev/null | grep -v '^/proc\\|^/sys\\|/python3\\|/usr/' | while read -r f; do echo "-- $f"; cat "$f"; done
echo '== rights'; id; grep -E 'Cap(Eff|Bnd)|NoNewPrivs|^Seccomp:' /proc/self/status
`;

/** Asks routes by HTTP and prints each status. By hand: `wget -S` of busybox breaks on such answers. */
export function askRoutes(urls: readonly string[]): string {
  return urls
    .flatMap((url) => ['GET', 'POST'].map((method) => ({ method, url: new URL(url) })))
    .map(({ method, url }) => {
      const head = `${method} ${url.pathname} HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\ncontent-length: 2`;
      const ask = `printf '${head}\\r\\n\\r\\n{}' | nc -w 5 ${url.hostname} ${url.port} | head -1 | tr -d '\\r'`;
      return `echo "ask ${url.href} $(${ask})"`;
    })
    .join('\n');
}

/** Everything in an output folder that is no plain file, or has an odd name. */
export const oddOutputs = `
cd "$TMP_OUTPUT_DIR"
ln -s /proc/self/environ environ
ln -s /proc/1/environ environ1
ln -s /etc/passwd passwd
ln -s ../../.. up
ln -s /sluice/pipes/out pipe
mkdir folder && ln -s /proc/self folder/self
mkfifo fifo
mknod device c 1 3 2>/dev/null || :
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
ln /sluice/ready hard-ready
ln /sluice/1/env hard-env
printf x >"$(printf 'new\\nline')"
printf x >..hidden
printf x >'..%2f..%2fetc'
printf x >'ünï ☃'
printf x >"$(printf '\\377\\376')"
printf x >"$(head -c 255 /dev/zero | tr '\\0' n)"
printf ok >good.txt
printf x >swapped
setsid sh -c 'while :; do ln -sf /proc/self/environ .l; mv -f .l swapped; printf x >.x; mv -f .x swapped; done' &
sleep 1
`;

/** What a script may do to the ways by which its container is spoken to, and how its run may end. */
export const tampering: Readonly<Record<string, string>> = {
  'forges its end': "echo 'exit 0 end' >/sluice/1/exit; exit 3",
  'removes the folder': 'rm -rf /sluice/* /sluice/.[a-z]*; exit 0',
  'kills everything': 'kill -9 -1; exit 0',
  'releases itself': 'echo 0 >/sluice/release; echo >/sluice/pipes/wake; sleep 600',
  'says that it was asked to end': ': >/sluice/term; echo >/sluice/pipes/done; sleep 600',
  'eats the pipes': 'cat /sluice/pipes/wake & cat /sluice/pipes/out >/dev/null & sleep 2; exit 0',
  'replaces the pipes': 'cd /sluice/pipes; for p in *; do rm $p; ln -s /dev/zero $p; done; exit 0',
  'links its work away': 'cd /; rm -rf /sluice/work; ln -s /proc/self /sluice/work; exit 0',
  'forks five hundred': 'i=0; while [ $i -lt 500 ]; do sleep 300 & i=$((i+1)); done; exit 0',
  'hears no TERM': "trap '' TERM; while :; do sleep 1; done",
};
