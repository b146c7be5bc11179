#!/bin/sh
# thumbnail: one picture in; NAME-small.EXT and NAME-grey.EXT out.
# The platform sets INPUT_FILE_PATH and TMP_OUTPUT_DIR and uploads what is left in the latter.
set -eu

if ! command -v sluice-thumbnail >/dev/null 2>&1; then
  echo 'thumbnail: the program sluice-thumbnail is not on PATH: run "npm ci" in the checkout, or use the image' >&2
  exit 127
fi
exec sluice-thumbnail "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"
