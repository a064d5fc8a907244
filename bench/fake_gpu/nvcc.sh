#!/bin/sh
# See CMakeLists.txt.
if [ "$1" = --version ]; then
  echo "Cuda compilation tools, release 13.0, V13.0.0"
  echo "Build fake"
  exit 0
fi
while [ $# -gt 1 ]; do
  if [ "$1" = -o ]; then echo "no code" > "$2"; exit 0; fi
  shift
done
exit 1
