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

# NVRTC compiles the kernels for a GPU. Where no CUDA toolkit has it, a wheel does; without network
# the tests that need it are skipped and say so.
install_nvrtc() {
  local found
  for found in "${KILN_NVRTC:-}" "${CUDA_HOME:-/usr/local/cuda}"/lib64/libnvrtc.so.1[23] \
    /usr/local/cuda/lib64/libnvrtc.so.1[23] /usr/lib/x86_64-linux-gnu/libnvrtc.so.1[23]; do
    [ -e "$found" ] && return
  done
  if [ ! -e .venv/bin/python3 ]; then
    say "Making .venv for NVRTC's wheel (this machine has no CUDA toolkit)"
    python3 -m venv .venv
  fi
  export VIRTUAL_ENV=$root/.venv
  compgen -G ".venv/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[23]" >/dev/null && return
  .venv/bin/python3 -m pip install -q --disable-pip-version-check "nvidia-cuda-nvrtc>=13,<14" ||
    echo "NVRTC could not be installed: kernels for a GPU cannot be compiled here" >&2
}

# build PRESET TARGETS...: configures once and builds.
build() {
  local preset=$1
  shift
  say "Building ($preset)"
  local launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cmake --preset "$preset" "${launcher[@]}" >/dev/null
  cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"} |
    awk '/warning|error|FAILED/ || NR % 25 == 0'
}
