# SPDX-License-Identifier: BSL-1.0
# shellcheck shell=bash
# What the scripts share. Sourced, never run.

# shellcheck disable=SC2034  # for the scripts
caller_dir=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "$*"
  exit 1
}
here() { command -v "$1" >/dev/null; }

# there PACKAGE: whether it is installed, or its program or header is here from elsewhere.
there() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" != installed ] || return 0
  case $1 in
    ninja-build) ninja_is_here ;;
    dpkg-dev) here dpkg-source ;;
    xz-utils) here xz ;;
    binutils) here objdump ;;
    linux-libc-dev) header linux/kvm.h ;;
    catch2) header catch2/catch.hpp || header catch2/catch_all.hpp ;;
    nlohmann-json3-dev) header nlohmann/json.hpp ;;
    libbenchmark-dev) header benchmark/benchmark.h ;;
    *) here "$1" ;;
  esac
}
ninja_is_here() { here ninja || here ninja-build || here samu; }
header() { [ -e "/usr/local/include/$1" ] || [ -e "/usr/include/$1" ]; }

# Which of these packages are not there, into `missing`.
look_for() {
  local package
  missing=()
  for package in "$@"; do
    there "$package" || missing+=("$package")
  done
}

# may_install: whether this user can install packages, and how (`sudo`) or why not (`obstacle`).
may_install() {
  sudo=()
  if ! here apt-get; then
    obstacle="there is no apt-get here"
  elif [ "$(id -u)" -eq 0 ]; then
    return 0
  elif ! here sudo; then
    obstacle="this user is not root, and there is no sudo"
  # sudo asks for a password on a terminal only.
  elif ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo true; }; then
    obstacle="this user is not root, and sudo refuses"
  else
    sudo=(sudo)
    return 0
  fi
  return 1
}

# obtain PACKAGE…: installs, by apt, those that are missing; fails if some still are, which are then
# in `missing`, and the reason in `obstacle`.
obtain() {
  look_for "$@"
  [ ${#missing[@]} -gt 0 ] || return 0
  may_install || return 1
  say "installing ${missing[*]}"
  local package errors install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -qq -y --no-install-recommends install)
  "${install[@]}" "${missing[@]}" >/dev/null 2>&1 && return 0
  # The package lists may be old, or not there yet.
  errors=$("${sudo[@]}" apt-get -o Acquire::Retries=3 -o APT::Update::Error-Mode=any -qq update 2>&1) ||
    say "apt-get update failed: $(head -n 1 <<<"$errors")"
  errors=$("${install[@]}" "${missing[@]}" 2>&1 >/dev/null) && return 0
  # A package that cannot be had keeps apt from installing the others.
  if [ ${#missing[@]} -gt 1 ]; then
    for package in "${missing[@]}"; do
      "${install[@]}" "$package" >/dev/null 2>&1 || true
    done
  fi
  look_for "$@"
  [ ${#missing[@]} -gt 0 ] || return 0
  obstacle="apt-get says: $(grep -m 1 '^E: ' <<<"$errors" || tail -n 1 <<<"$errors")"
  return 1
}

# need PACKAGE…: without these there is no going on.
need() { obtain "$@" || die "needs ${missing[*]}, which could not be installed: $obstacle"; }

# want PACKAGE…: without these there is less to do.
want() { obtain "$@" || say "goes on without ${missing[*]}, which could not be installed: $obstacle"; }

# build_tools [PACKAGE…]: what every build needs: a C++ compiler (CXX, or else the machine's own),
# CMake, and Ninja or Make. Installs what is missing, and the packages if it can; ends if there is no
# compiler, no CMake or neither of the two. Sets `compiler` and, for configure and build, `generator`.
build_tools() {
  local version wanted=(cmake ninja-build linux-libc-dev "$@")
  [ -n "${CXX:-}" ] || find_compiler || wanted+=(g++)
  want "${wanted[@]}"
  [ -n "${CXX:-}" ] || find_compiler || die "there is no C++ compiler (Debian's package: g++)"
  read -ra compiler <<<"${CXX:-$compiler}"
  here "${compiler[0]}" || die "CXX names ${compiler[0]}, which is not here"
  here cmake || die "there is no CMake (Debian's package: cmake)"
  version=$(cmake --version | sed -nE 's/^cmake version ([0-9.]+).*/\1/p')
  printf '3.25\n%s\n' "$version" | sort -C -V || die "needs CMake 3.25 or later; here it is $version"
  generator=Ninja
  if ! ninja_is_here; then
    here make || die "there is neither Ninja (Debian's package: ninja-build) nor Make"
    generator='Unix Makefiles'
  fi
}

# The compiler that CMake takes by itself, or else, through CXX, one that has its version in its name.
find_compiler() {
  for compiler in c++ g++ clang++; do
    ! here "$compiler" || return 0
  done
  compiler=$(compgen -c | grep -xE '(g|clang)\+\+-[0-9]+' | sort -t - -k 1,1r -k 2,2n | tail -n 1)
  [ -n "$compiler" ] && export CXX=$compiler
}

# configure PRESET: its build directory, emptied of what was found out for another compiler or
# generator.
configure() {
  local fresh=() of=build/$1/configured_with with="$generator, ${CXX:-the default compiler}"
  [ ! -e "build/$1/CMakeCache.txt" ] || [ "$(cat "$of" 2>/dev/null)" = "$with" ] || fresh=(--fresh)
  mkdir -p "build/$1"
  echo "$with" >"$of"
  cmake --preset "$1" -G "$generator" "${fresh[@]}"
}

# build PRESET [OPTION…]
build() { cmake --build --preset "$1" --parallel "$(nproc)" "${@:2}"; }
