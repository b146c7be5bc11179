#!/bin/sh
# pipeline-report: one CSV file of a station's readings in; NAME-report.json out, with the smallest, the largest and the
# mean value. The platform sets INPUT_FILE_PATH and TMP_OUTPUT_DIR and uploads what is left in the latter.
# Exit codes: 3 not a CSV file of readings, 1 anything else.
set -eu
LC_ALL=C # a decimal point on every machine
export LC_ALL

fail() { # CODE MESSAGE
  printf 'pipeline-report: %s\n' "$2" >&2
  exit "$1"
}

input=$INPUT_FILE_PATH
out=$TMP_OUTPUT_DIR
case $out in /*) ;; *) out=./$out ;; esac # never an option, whatever it is called
base=${input##*/}
name=${base%.*}
[ -n "$name" ] || name=$base
export GROUP_COLUMN="${GROUP_COLUMN:-station}"
export TIME_COLUMN="${TIME_COLUMN:-time}"
export VALUE_COLUMN="${VALUE_COLUMN:-temperature}"
[ -d "$out" ] || fail 1 "there is no folder for the output"
[ -f "$input" ] || fail 3 "the input is not a file"

# A hidden name without the ending: should this be killed half-way, the service's suffix list keeps it out.
report=$out/.pipeline-report
trap 'rm -f "$report"' EXIT
trap 'exit 143' HUP INT TERM

# shellcheck disable=SC2016 # the dollar signs are awk's
awk -F , '
function refuse(why) {
  printf "pipeline-report: line %d: %s\n", NR, why > "/dev/stderr"
  stopped = 1
  exit 3
}
function tidy(text) {
  sub(/^[ \t]+/, "", text)
  sub(/[ \t]+$/, "", text)
  return text
}
function column(name,    i) {
  for (i = 1; i <= NF; i++) if (tidy($i) == name) return i
  refuse("there is no column \"" name "\" in the header")
}
function json(text,    at, safe) {
  gsub(/[\001-\037\177]/, " ", text)
  # Not gsub: each awk reads backslashes in a replacement in its own way. Quotes have been refused.
  while (at = index(text, "\\")) {
    safe = safe substr(text, 1, at) "\\"
    text = substr(text, at + 1)
  }
  return "\"" safe text "\""
}
{ sub(/\r$/, "") }
!columns { sub(/^\357\273\277/, "") }
/^[ \t]*$/ { next }
/"/ { refuse("quoted fields are not supported") }
!columns {
  group = column(ENVIRON["GROUP_COLUMN"])
  time = column(ENVIRON["TIME_COLUMN"])
  value = column(ENVIRON["VALUE_COLUMN"])
  columns = NF
  next
}
NF != columns { refuse("it has " NF " fields, the header has " columns) }
{
  if (++rows == 1) station = tidy($group)
  if (tidy($group) != station) refuse("it is of \"" tidy($group) "\", the lines before of \"" station "\"")
  text = tidy($value)
  if (text == "") { missing++; next }
  if (length(text) > 40 || text !~ /^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9][0-9]?)?$/)
    refuse("\"" text "\" is not a number")
  number = text + 0
  if (++count == 1 || number < min) { min = number; min_at = tidy($time) }
  if (count == 1 || number > max) { max = number; max_at = tidy($time) }
  sum += number
}
END {
  if (stopped) exit 3
  if (!columns) {
    print "pipeline-report: the file is empty: a header line is needed" > "/dev/stderr"
    exit 3
  }
  printf "{\n  \"station\": %s,\n  \"column\": %s,\n", rows ? json(station) : "null", json(ENVIRON["VALUE_COLUMN"])
  printf "  \"readings\": %d,\n  \"missing\": %d,\n", count, missing
  if (count) {
    printf "  \"min\": %.10g,\n  \"min_at\": %s,\n", min, json(min_at)
    printf "  \"max\": %.10g,\n  \"max_at\": %s,\n", max, json(max_at)
    printf "  \"mean\": %.3f\n}\n", sum / count
  } else printf "  \"min\": null,\n  \"min_at\": null,\n  \"max\": null,\n  \"max_at\": null,\n  \"mean\": null\n}\n"
}' <"$input" >"$report" || {
  [ $? -ne 3 ] || exit 3 # awk has said why
  fail 1 "the report could not be written"
}

# busybox' awk reports no failed write: on a full disk the last line is missing.
[ "$(tail -n 1 <"$report")" = '}' ] || fail 1 "the report could not be written to the end"
mv "$report" "$out/$name-report.json"
cat "$out/$name-report.json"
