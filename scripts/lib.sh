# Shared by the scripts: where things are, and how a fresh Debian 12 or Ubuntu 24.04 machine gets what
# it lacks. Nothing is installed that is there already.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n== %s\n' "$*"; }

# Debian packages that building and running needs, each with the file that shows it is there.
packages=(
  g++:/usr/bin/g++ cmake:/usr/bin/cmake ninja-build:/usr/bin/ninja
  libfmt-dev:/usr/include/fmt/format.h nlohmann-json3-dev:/usr/include/nlohmann/json.hpp
  libcli11-dev:/usr/include/CLI/CLI.hpp libboost-context-dev:/usr/include/boost/context/detail/fcontext.hpp
  libxxhash-dev:/usr/include/xxhash.h libsodium-dev:/usr/include/sodium.h
  libgtest-dev:/usr/include/gtest/gtest.h libgmock-dev:/usr/include/gmock/gmock.h
  libbenchmark-dev:/usr/include/benchmark/benchmark.h
  pkg-config:/usr/bin/pkg-config git:/usr/bin/git python3:/usr/bin/python3 python3-venv:/usr/share/doc/python3-venv
)

install_packages() {
  local missing=() entry
  for entry in "${packages[@]}" "$@"; do
    [ -e "${entry#*:}" ] || missing+=("${entry%%:*}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${missing[*]}"
  local sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  if ! command -v apt-get >/dev/null; then
    echo "These packages are missing and this machine has no apt-get: ${missing[*]}" >&2
    exit 1
  fi
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# CUDA's major version that the driver takes: 12 where nvidia-smi says so, else the newest.
cuda_major() {
  local said
  said=$(nvidia-smi 2>/dev/null) || true
  if [[ $said =~ CUDA[A-Za-z\ ]*Version:\ 12\. ]]; then echo 12; else echo 13; fi
}

# usable_nvrtc DIRECTORY MAJOR: whether there is an NVRTC that Kiln and a driver of CUDA MAJOR take.
# The name of the second library beside it carries the full version; Kiln wants 12.3 or later.
usable_nvrtc() {
  { [ "$2" -ge 13 ] && [ -e "$1/libnvrtc.so.13" ]; } ||
    { [ -e "$1/libnvrtc.so.12" ] && compgen -G "$1/libnvrtc-builtins.so.12.[3-9]" >/dev/null; }
}

# NVRTC compiles the kernels for a GPU. Where no CUDA toolkit has one that fits, a wheel does; without
# network the tests that need it are skipped and say so. Sets `nvrtc_wheel` to the wheel's library.
nvrtc_wheel=
install_nvrtc() {
  local directory major package
  major=$(cuda_major)
  [ -n "${KILN_NVRTC:-}" ] && return
  for directory in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda/lib64 /usr/lib/x86_64-linux-gnu; do
    usable_nvrtc "$directory" "$major" && return
  done
  find_nvrtc_wheel "$major" && return
  say "Installing NVRTC's wheel into .venv (no CUDA toolkit here has one that fits)"
  package="nvidia-cuda-nvrtc>=13,<14"
  [ "$major" -ge 13 ] || package="nvidia-cuda-nvrtc-cu12>=12.3"
  if ! install_python_packages "$package" || ! find_nvrtc_wheel "$major"; then
    echo "NVRTC could not be installed: kernels for a GPU cannot be compiled here" >&2
  fi
}

find_nvrtc_wheel() {
  local directory
  for directory in .venv/lib/python3*/site-packages/nvidia/{cu13,cuda_nvrtc}/lib; do
    usable_nvrtc "$directory" "$1" || continue
    export VIRTUAL_ENV=$root/.venv
    nvrtc_wheel=$(printf '%s\n' "$root/$directory"/libnvrtc.so.1[23])
    return 0
  done
  return 1
}

# install_python_packages PACKAGES...: into .venv, as pip names them. Fails where there is no network.
install_python_packages() {
  [ -e .venv/bin/python3 ] || python3 -m venv .venv
  .venv/bin/python3 -m pip install -q --disable-pip-version-check "$@"
}

# What the Python package is built with and tested with. Without network it is left out, and that is
# said. Sets `with_python`.
with_python=
install_python_tools() {
  if install_python_packages "apache-tvm-ffi>=0.1.9,<0.2" numpy ml_dtypes pytest 2>/dev/null; then
    with_python=yes
  else
    echo "Packages from PyPI could not be installed: the Python package is not tested here" >&2
  fi
}

# build PRESET TARGETS...: configures once and builds.
build() {
  local preset=$1
  shift
  say "Building ($preset)"
  local options=()
  command -v ccache >/dev/null && options=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  # Said, since a build that was configured before tvm-ffi was there remembers that it was not.
  [ -z "$with_python" ] || options+=(-DKILN_PYTHON=ON)
  cmake --preset "$preset" "${options[@]}" >/dev/null || return
  cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"} |
    awk '/warning|error|FAILED/ || NR % 25 == 0'
}

# What has passed and failed so far: tests, and steps that count as one.
passed=0 failed=0

# check NAME COMMAND...: a step that passes or fails as one.
check() {
  local name=$1
  shift
  say "$name"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name"
    return 1
  fi
}

# run_tests PROGRAM ARGUMENTS...: adds GoogleTest's totals. The tests are dealt to processes, as many at
# a time as there are cores, and several a core since some tests take long. One that ends in another
# way than its tests explain counts as one failure.
run_tests() {
  local logs cores shards shard log p f code before=$((passed + failed))
  logs=$(mktemp -d) cores=$(nproc)
  shards=$((6 * cores))
  for ((shard = 0; shard < shards; ++shard)); do
    while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n || true; done
    (
      code=0
      GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard "$@" --gtest_brief=1 >"$logs/$shard" 2>&1 || code=$?
      grep -vE '^(Running main|\[=+\]|\[  PASSED  \]|  YOU HAVE .* DISABLED|$)' "$logs/$shard" || true
      echo "exit $code" >>"$logs/$shard"
    ) &
  done
  wait || true
  for log in "$logs"/*; do
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -1)
    f=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
    [ "$f" -gt 0 ] || [ "$(tail -1 "$log")" = "exit 0" ] || f=1
    passed=$((passed + ${p:-0}))
    failed=$((failed + f))
  done
  rm -rf "$logs"
  echo "$((passed + failed - before)) tests ran"
}

# run_python_tests ARGUMENTS...: pytest on the package in the build tree, and adds its totals. What
# ends before its tests do counts as one failure.
run_python_tests() {
  local log p f code=0
  log=$(mktemp)
  PYTHONPATH=build/python PYTHONDONTWRITEBYTECODE=1 .venv/bin/python3 -m pytest -q -rs \
    -p no:cacheprovider "$@" 2>&1 | tee "$log" || code=$?
  p=$(grep -oE '^[0-9].* in [0-9.]+s' "$log" | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+' || true)
  f=$(grep -cE '^(FAILED|ERROR) ' "$log" || true)
  [ "$code" -eq 0 ] || [ "$f" -gt 0 ] || f=1
  rm -f "$log"
  passed=$((passed + ${p:-0}))
  failed=$((failed + f))
}

print_totals() { printf '\n%d passed, %d failed\n' "$passed" "$failed"; }
