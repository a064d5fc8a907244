#!/bin/sh
# Its machine code is the source, ended by a 0: what the fake driver reads the types from.
if [ "$1" = --version ]; then
  echo "Cuda compilation tools, release 13.0, V13.0.0"
  echo "Build fake"
  exit 0
fi
while [ $# -gt 1 ]; do
  if [ "$1" = -o ]; then cat "$source" > "$2"; printf '\0' >> "$2"; exit 0; fi
  source=$1
  shift
done
exit 1
