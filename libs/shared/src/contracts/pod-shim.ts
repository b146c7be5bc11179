/*
 * What a pod of ours is made of. Its sidecar is the supervisor, its main container has the service's image and runs `podShim`. Both mount one `emptyDir` at
 * `podFolder`, and everything the two say to each other is in there:
 *
 *   pipes/wake     a byte for each word to the shim           pipes/shim    open while the shim lives
 *   pipes/done     a byte for each word to the supervisor     pipes/script  open while somebody waits for the script
 *   pipes/out      what the script prints, both streams
 *   ready          written by the shim: its side of the pipes is open
 *   <n>/           made under another name and renamed by the supervisor: script number n is to be started. `env` is read by the shell, `script` is run
 *   <n>/started    written by the shim, after the script's process was made
 *   <n>/exit       `exit <code> end`, written by the shim when the script has ended
 *   <n>/oom        written before it, where the kernel killed something of the container for want of memory meanwhile
 *   kill           written by the supervisor: the script is to end (SIGTERM)
 *   term           written by the shim: its container got SIGTERM, which it hands on to the script
 *   patient        written by the supervisor of a runner: SIGTERM is not handed on, the call in hand is the supervisor's to end
 *   starts         a byte for each supervisor that this pod has had
 *   release        `<code>`, renamed into place by the supervisor: the shim exits with it, and with process 1 all of the container ends
 *
 * The files are the state, a byte in a pipe only says "look". Both sides hold the pipes open for reading and writing, so that either may die and come back: what
 * was printed stays in the pipe, and nobody is ended by a pipe without a reader. The script may tamper with all of it; what it can change that way is what
 * becomes of itself.
 */

/** Where both containers have the folder that they share. */
export const podFolder = '/sluice';

/** Environment of the supervisor's container, by what it says. The pod's name comes by the downward API. */
export const podVariables = {
  /** `run` or `runner`. */
  mode: 'SLUICE_POD_MODE',
  schedulerUrl: 'SLUICE_SCHEDULER_URL',
  pod: 'SLUICE_POD_NAME',
  /** See `podToken`. */
  token: 'SLUICE_POD_TOKEN',
  /** Seconds between SIGTERM and SIGKILL (`terminationGracePeriodSeconds`). */
  graceSeconds: 'SLUICE_POD_GRACE',
  /** Names the installation, for `SLUICE_INSTANCE` of scripts. */
  instance: 'SLUICE_INSTANCE',
  runId: 'SLUICE_RUN_ID',
  attempt: 'SLUICE_ATTEMPT',
  runnerId: 'SLUICE_RUNNER_ID',
  service: 'SLUICE_SERVICE',
  serviceUid: 'SLUICE_SERVICE_UID',
  serviceVersion: 'SLUICE_SERVICE_VERSION',
  /** Where a runner listens, at all addresses of the pod. */
  runnerPort: 'SLUICE_RUNNER_PORT',
} as const;

const shim = `_f='@folder@'
_n=1
_q=
umask 000
until [ -e "$_f/pipes" ]; do sleep 0.02 2>/dev/null || sleep 1 2>/dev/null || :; done
exec 3<>"$_f/pipes/wake" 4<>"$_f/pipes/done" 5<>"$_f/pipes/out" 6<>"$_f/pipes/shim"
_signal() {
  if [ "$$" = 1 ]; then kill "-$1" -1; elif [ -n "$_q" ]; then kill "-$1" "$_q"; fi 2>/dev/null
}
_ended() {
  [ -f "$_f/$_n/exit" ] && read -r _a _c _b <"$_f/$_n/exit" && [ "$_b" = end ]
}
_killed() {
  for _e in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$_e" ] || continue
    while read -r _y _z; do [ "$_y" != oom_kill ] || _m=$_z; done <"$_e"
  done
}
_start() {
  (
    _m=
    _killed
    _l=$_m
    _p=
    _k=
    trap '_k=1; [ -z "$_p" ] || kill -TERM "$_p" 2>/dev/null' TERM INT
    exec 6>&- 7<>"$_f/pipes/script"
    (
      trap - TERM INT
      exec </dev/null >&5 2>&1 3>&- 4>&- 5>&- 7>&-
      . "$_f/$_n/env"
      exec /bin/sh "$_f/$_n/script"
    ) &
    _p=$!
    [ -z "$_k" ] || kill -TERM "$_p" 2>/dev/null
    : >"$_f/$_n/started"
    echo >&4
    while :; do
      wait "$_p"
      _c=$?
      kill -0 "$_p" 2>/dev/null || break
    done
    if ! [ -O "$_f/$_n/script" ] && [ -e "$_f/$_n/work" ] && command -v chmod >/dev/null 2>&1; then
      read -r _w <"$_f/$_n/work"
      chmod -R a+rwX "$_w"
    fi 2>/dev/null
    _killed
    [ "$_m" = "$_l" ] || : >"$_f/$_n/oom"
    echo "exit $_c end" >"$_f/$_n/exit"
    echo >&3
  ) 2>/dev/null &
  _q=$!
}
trap ': >"$_f/term"; echo >&4; [ -n "$_q" ] || exit 143; [ -e "$_f/patient" ] || _signal TERM' TERM INT
: >"$_f/ready"
echo >&4
while :; do
  read -r _x <&3
  if [ -f "$_f/release" ]; then
    _c=
    read -r _c <"$_f/release"
    case "$_c" in '' | *[!0-9]*) _c=1 ;; esac
    exit "$_c"
  fi
  if [ -n "$_q" ] && _ended; then
    [ "$$" != 1 ] || kill -KILL -1 2>/dev/null
    wait
    _q=
    _n=$((_n + 1))
    echo >&4
    [ ! -e "$_f/term" ] || exit 143
  fi
  if [ -n "$_q" ]; then
    [ ! -e "$_f/kill" ] || _signal TERM
  elif [ -e "$_f/$_n/env" ] && [ ! -e "$_f/kill" ]; then
    _start
  fi
done
`;

/**
 * What the main container runs as `/bin/sh -c <text>`: see the top of this file. Needs a shell and nothing else (dash, busybox, bash; `sleep`, `chmod` are used where they
 * are there). The waiting for the script is done by a child, so that process 1 reads one pipe for everything that may happen: in a shell there is no
 * waiting for two things. As process 1 it kills what an ended script has left; else (a pod whose containers share their processes) that is left to the container's end.
 */
export const podShim = podShimIn(podFolder);

/** The same for another folder, without quotes in its name. */
export function podShimIn(folder: string): string {
  return shim.replace('@folder@', folder);
}
