#!/bin/sh
# word-count: one text file in; NAME.tsv (word, tab, count; most frequent first) and NAME-summary.txt out.
# The platform sets INPUT_FILE_PATH and TMP_OUTPUT_DIR and uploads what is left in the latter.
# Exit codes: 2 a wrong setting or name, 3 not a text file or too many different words, 1 anything else.
set -eu

# Bytes, not characters: the same words in the same order on every machine, and no choking on text that is not quite
# UTF-8. The price: only A to Z are turned into lower case, so that "Été" and "été" are two words.
LC_ALL=C
export LC_ALL

fail() { # CODE MESSAGE
  printf 'word-count: %s\n' "$2" >&2
  exit "$1"
}

input=$INPUT_FILE_PATH
out=$TMP_OUTPUT_DIR
export WORD_COUNT_MAX="${WORD_COUNT_MAX:-500000}"
case $out in /*) ;; *) out=./$out ;; esac # never an option, whatever it is called
case $WORD_COUNT_MAX in
'' | 0* | *[!0-9]* | ????????*) fail 2 "WORD_COUNT_MAX must be a whole number from 1 to 9999999, not \"$WORD_COUNT_MAX\"" ;;
esac

base=${input##*/}
name=${base%.*}
[ -n "$name" ] || name=$base # ".notes" is all ending
shown=$(printf '%s' "$base" | tr '\000-\037\177' '?')
[ "${#name}" -le 243 ] || fail 2 "the name \"$shown\" is too long for \"-summary.txt\" to be added"
[ -d "$out" ] || fail 1 "there is no folder for the output"
[ -f "$input" ] || fail 3 "\"$shown\" is not a file"

# Hidden names without a known ending: should this be killed half-way, the service's suffix list keeps them out.
counts=$out/.word-count.counts
summary=$out/.word-count.summary
broken=$out/.word-count.broken
export WORDS_TOTAL="$out/.word-count.total"
trap 'rm -f "$counts" "$summary" "$broken" "$WORDS_TOTAL"' EXIT
trap 'exit 143' HUP INT TERM
rm -f "$broken"

# A pipe reports its last command only; this remembers the others.
step() {
  "$@" || {
    status=$?
    echo "$status" >>"$broken"
    return "$status"
  }
}

[ "$(tr -d -c '\000' <"$input" | wc -c)" -eq 0 ] ||
  fail 3 "\"$shown\" is not a text file: it has NUL bytes (if it is UTF-16, convert it to UTF-8)"
bytes=$(($(wc -c <"$input")))
lines=$(($(wc -l <"$input")))
# A last line without a line end is a line too.
[ "$bytes" -eq 0 ] || [ -z "$(tail -c 1 <"$input")" ] || lines=$((lines + 1))

# shellcheck disable=SC2016 # the dollar signs are awk's
count_words='
function add(word) {
  gsub(/^[-\047]+|[-\047]+$/, "", word)
  if (word == "") return
  if (!(word in seen) && ++distinct > most) {
    printf "word-count: more than %d different words (WORD_COUNT_MAX)\n", most > "/dev/stderr"
    stopped = 1
    exit 3
  }
  seen[word]++
}
BEGIN { most = ENVIRON["WORD_COUNT_MAX"] + 0 }
/[\200-\377]/ {
  gsub(/\342\200[\230\231]/, "\047")                                  # curly apostrophes
  gsub(/\342\200[\200-\227\232-\257]|\342\200\260|\342\200\271|\342\200\272/, " ") # dashes, quotes, ellipsis, spaces
  gsub(/\302[\240\241\247\253\266\267\273\277]/, " ")                 # no-break space, guillemets, Spanish marks
  gsub(/\343\200[\200-\221]|\357\274[\201\210\211\214\216\232\233\237]/, " ") # Chinese and Japanese punctuation
  gsub(/\357\273\277/, " ")                                           # byte order mark
}
{
  parts = split(tolower($0), part, " ")
  for (i = 1; i <= parts; i++) add(part[i])
}
END {
  if (stopped) exit 3
  for (word in seen) printf "%s\t%d\n", word, seen[word]
  print distinct + 0 > ENVIRON["WORDS_TOTAL"]
}'

# One word a line; none over 999 bytes, so that memory stays small whatever the file holds.
status=0
step tr -cs "0-9A-Za-z'\200-\377-" '\n' <"$input" |
  step fold -b -w 999 |
  step awk "$count_words" |
  sort -t "$(printf '\t')" -k 2,2nr -k 1,1 >"$counts" || status=$?
if [ "$status" -ne 0 ] || [ -e "$broken" ]; then
  grep -qx 3 "$broken" 2>/dev/null && exit 3 # awk has said why
  fail 1 "\"$shown\" was not counted to the end"
fi
# busybox' awk and sort report no failed write: a full disk shows in the number of lines only.
different=none
read -r different <"$WORDS_TOTAL" || :
[ "$(($(wc -l <"$counts")))" = "$different" ] || fail 1 "the table could not be written to the end"

# shellcheck disable=SC2016
SHOWN=$shown LINES_IN=$lines BYTES_IN=$bytes awk -F '\t' '
NR <= 5 { top = top (NR > 1 ? ", " : "") $1 " (" $2 ")" }
{ words += $2 }
END {
  printf "file: %s\nbytes: %s\nlines: %s\n", ENVIRON["SHOWN"], ENVIRON["BYTES_IN"], ENVIRON["LINES_IN"]
  printf "words: %d\ndifferent words: %d\nmost frequent: %s\n", words, NR, NR ? top : "none"
}' <"$counts" >"$summary"
[ "$(($(wc -l <"$summary")))" -eq 6 ] || fail 1 "the summary could not be written to the end"

mv "$counts" "$out/$name.tsv"
mv "$summary" "$out/$name-summary.txt"
cat "$out/$name-summary.txt"
