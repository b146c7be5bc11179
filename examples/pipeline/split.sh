#!/bin/sh
# pipeline-split: one CSV file of readings in; one CSV file for each station out, NAME-STATION.csv, with the same header.
# The platform sets INPUT_FILE_PATH and TMP_OUTPUT_DIR and uploads what is left in the latter.
# Exit codes: 2 a wrong setting, 3 not a CSV file of readings, 1 anything else.
set -eu
LC_ALL=C # the same order and the same names on every machine
export LC_ALL

fail() { # CODE MESSAGE
  printf 'pipeline-split: %s\n' "$2" >&2
  exit "$1"
}
not_written() { # STATUS; awk says 3 when it has refused the input and told why
  [ "$1" -ne 3 ] || exit 3
  fail 1 "the parts could not be written to the end"
}

input=$INPUT_FILE_PATH
out=$TMP_OUTPUT_DIR
case $out in /*) ;; *) out=./$out ;; esac # never an option, whatever it is called
base=${input##*/}
NAME=${base%.*}
[ -n "$NAME" ] || NAME=$base # ".readings" is all ending
GROUP_COLUMN=${GROUP_COLUMN:-station}
MAX_GROUPS=${MAX_GROUPS:-1000}
case $MAX_GROUPS in
'' | 0* | *[!0-9]* | ?????*) fail 2 "MAX_GROUPS must be a whole number from 1 to 9999, not \"$MAX_GROUPS\"" ;;
esac
[ -d "$out" ] || fail 1 "there is no folder for the output"
[ -f "$input" ] || fail 3 "the input is not a file"

# Parts grow under a hidden folder and are moved when all is well: half a part would start a run of its own downstream.
# Should this be killed half-way, the service's suffix list keeps what is in the folder out.
work=$out/.pipeline-split
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
export NAME GROUP_COLUMN MAX_GROUPS WORK="$work"

# Rows by station, each station's in their old order: one part is open at a time, however many there are.
# shellcheck disable=SC2016 # the dollar signs are awk's
awk -F , '
function refuse(why) {
  printf "pipeline-split: line %d: %s\n", NR, why > "/dev/stderr"
  stopped = 1
  exit 3
}
function tidy(text) {
  sub(/^[ \t]+/, "", text)
  sub(/[ \t]+$/, "", text)
  return text
}
{ sub(/\r$/, "") }
!columns { sub(/^\357\273\277/, "") }
/^[ \t]*$/ { next }
/"/ { refuse("quoted fields are not supported") }
!columns {
  for (i = 1; i <= NF; i++) if (tidy($i) == ENVIRON["GROUP_COLUMN"]) column = i
  if (!column) refuse("there is no column \"" ENVIRON["GROUP_COLUMN"] "\" in the header")
  columns = NF
  printf "\t0\t%s\n", $0 # no station: sorts first
  next
}
NF != columns { refuse("it has " NF " fields, the header has " columns) }
{
  group = tidy($column)
  if (group == "") refuse("it has no " ENVIRON["GROUP_COLUMN"])
  file = group
  gsub(/[^0-9A-Za-z._\200-\377-]/, "_", file)
  if (!(file in owner)) {
    if (++groups > ENVIRON["MAX_GROUPS"] + 0) refuse("more than " ENVIRON["MAX_GROUPS"] " stations (MAX_GROUPS)")
    if (length(ENVIRON["NAME"]) + length(file) > 250) refuse("the name of its part would be too long")
    owner[file] = group
  }
  if (owner[file] != group) refuse("\"" group "\" and \"" owner[file] "\" would share a file")
  rows++
  printf "%s\t%d\t%s\n", file, NR, $0
}
END {
  if (stopped) exit 3
  if (!columns) {
    print "pipeline-split: the file is empty: a header line is needed" > "/dev/stderr"
    exit 3
  }
  printf "%d %d\n", rows, groups > (ENVIRON["WORK"] "/totals")
}' <"$input" >"$work/rows" || not_written $?

sort -t "$(printf '\t')" -k 1,1 -k 2,2n "$work/rows" >"$work/sorted" || not_written $?

# shellcheck disable=SC2016
awk '
{
  first = index($0, "\t")
  file = substr($0, 1, first - 1)
  rest = substr($0, first + 1)
  row = substr(rest, index(rest, "\t") + 1)
  if (file == "") {
    header = row
    next
  }
  if (file != open) {
    if (open != "") close(path)
    open = file
    path = ENVIRON["WORK"] "/part." ++parts
    print header > path
    print file
  }
  print row > path
}
END { if (open != "") close(path) }' <"$work/sorted" >"$work/names" || not_written $?

# busybox' awk and sort report no failed write: a full disk shows in the totals only.
rows=-1 groups=0
read -r rows groups <"$work/totals" || :
lines=$(find "$work" -name 'part.*' -exec cat {} + | wc -l)
case "$((lines)) $(($(wc -l <"$work/names")))" in
"$((rows + groups)) $groups") ;;
*) not_written 1 ;;
esac

number=0
while IFS= read -r file; do
  number=$((number + 1))
  mv "$work/part.$number" "$out/$NAME-$file.csv"
  printf '%s-%s.csv\n' "$NAME" "$file"
done <"$work/names"
[ "$number" -gt 0 ] || echo 'no readings'
