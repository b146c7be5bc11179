#!/bin/sh
# csv-table: one CSV file in, NAME.md with its rows as a table out.
# The platform sets INPUT_FILE_PATH and TMP_OUTPUT_DIR and uploads what is left in the latter.
set -eu
exec python3 - <<'PYTHON'
import csv
import os
import sys

from tabulate import tabulate

MAX_ROWS = 100_000

source = os.environ["INPUT_FILE_PATH"]
folder = os.environ["TMP_OUTPUT_DIR"]
name = os.path.splitext(os.path.basename(source))[0]
rows = []
try:
    with open(source, newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file):
            if len(rows) > MAX_ROWS:
                sys.exit(f"csv-table: more than {MAX_ROWS} rows")
            rows.append(row)
except (UnicodeDecodeError, csv.Error) as error:
    sys.exit(f"csv-table: not a CSV file in UTF-8: {error}")
if not rows:
    sys.exit("csv-table: the file has no rows")
part = os.path.join(folder, name + ".part")
with open(part, "w", encoding="utf-8") as file:
    file.write(tabulate(rows[1:], headers=rows[0], tablefmt="github", disable_numparse=True) + "\n")
os.rename(part, os.path.join(folder, name + ".md"))
PYTHON
