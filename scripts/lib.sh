# SPDX-License-Identifier: BSL-1.0
# shellcheck shell=bash
# Functions that the scripts share. A script sources this file; nobody runs it.

# shellcheck disable=SC2034  # the scripts use it
caller_dir=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "$*"
  exit 1
}
here() { command -v "$1" >/dev/null; }

# there PACKAGE: succeeds if the package is installed, or if its program or header is here without it.
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

# look_for PACKAGE…: sets `missing` to the packages that are not there.
look_for() {
  local package
  missing=()
  for package in "$@"; do
    there "$package" || missing+=("$package")
  done
}

# may_install: succeeds if this user can install packages, and sets `sudo` to the prefix of the command.
# Fails otherwise, and sets `obstacle` to the reason.
may_install() {
  sudo=()
  if ! here apt-get; then
    obstacle="this system has no apt-get"
  elif [ "$(id -u)" -eq 0 ]; then
    return 0
  elif ! here sudo; then
    obstacle="this user is not root, and sudo is not installed"
  # sudo asks for a password on a terminal only.
  elif ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo true; }; then
    obstacle="this user is not root, and sudo does not permit it"
  else
    sudo=(sudo)
    return 0
  fi
  return 1
}

# obtain PACKAGE…: installs the missing packages by apt. If some are still missing, it fails, and sets
# `missing` to them and `obstacle` to the reason.
obtain() {
  look_for "$@"
  [ ${#missing[@]} -gt 0 ] || return 0
  may_install || return 1
  say "installing ${missing[*]}"
  local package errors install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -qq -y --no-install-recommends install)
  "${install[@]}" "${missing[@]}" >/dev/null 2>&1 && return 0
  # The package lists may be old or may not exist yet.
  errors=$("${sudo[@]}" apt-get -o Acquire::Retries=3 -o APT::Update::Error-Mode=any -qq update 2>&1) ||
    say "apt-get update failed: $(head -n 1 <<<"$errors")"
  errors=$("${install[@]}" "${missing[@]}" 2>&1 >/dev/null) && return 0
  # If one package cannot be installed, apt installs none of them. So each is tried alone.
  if [ ${#missing[@]} -gt 1 ]; then
    for package in "${missing[@]}"; do
      "${install[@]}" "$package" >/dev/null 2>&1 || true
    done
  fi
  look_for "$@"
  [ ${#missing[@]} -gt 0 ] || return 0
  obstacle="apt-get reports: $(grep -m 1 '^E: ' <<<"$errors" || tail -n 1 <<<"$errors")"
  return 1
}

# need PACKAGE…: installs them, and ends the script if that fails.
need() { obtain "$@" || die "the script needs ${missing[*]}, which could not be installed: $obstacle"; }

# want PACKAGE…: installs them, and goes on without them if that fails.
want() { obtain "$@" || say "continuing without ${missing[*]}, which could not be installed: $obstacle"; }

# build_tools [PACKAGE…]: provides what every build needs: a C++ compiler (CXX, or else the machine's
# own), CMake, and Ninja or Make. Installs missing tools, and the named packages if possible. Ends the
# script if there is no compiler, no CMake, or neither Ninja nor Make. Sets `compiler`, and `generator`
# for configure and build.
build_tools() {
  local version wanted=(cmake ninja-build linux-libc-dev "$@")
  [ -n "${CXX:-}" ] || find_compiler || wanted+=(g++)
  want "${wanted[@]}"
  [ -n "${CXX:-}" ] || find_compiler || die "no C++ compiler was found (Debian's package: g++)"
  read -ra compiler <<<"${CXX:-$compiler}"
  here "${compiler[0]}" || die "CXX names ${compiler[0]}, which was not found"
  here cmake || die "CMake was not found (Debian's package: cmake)"
  version=$(cmake --version | sed -nE 's/^cmake version ([0-9.]+).*/\1/p')
  printf '3.25\n%s\n' "$version" | sort -C -V || die "CMake $version is too old: 3.25 or later is necessary"
  generator=Ninja
  if ! ninja_is_here; then
    here make || die "neither Ninja (Debian's package: ninja-build) nor Make was found"
    generator='Unix Makefiles'
  fi
}

# find_compiler: sets `compiler` to the compiler that CMake chooses by itself. If there is none, sets CXX
# to a compiler with a version in its name, and fails if there is none either.
find_compiler() {
  for compiler in c++ g++ clang++; do
    ! here "$compiler" || return 0
  done
  compiler=$(compgen -c | grep -xE '(g|clang)\+\+-[0-9]+' | sort -t - -k 1,1r -k 2,2n | tail -n 1)
  [ -n "$compiler" ] && export CXX=$compiler
}

# configure PRESET: configures its build directory. If the directory was configured for another compiler
# or generator, it is configured anew.
configure() {
  local fresh=() of=build/$1/configured_with with="$generator, ${CXX:-the default compiler}"
  [ ! -e "build/$1/CMakeCache.txt" ] || [ "$(cat "$of" 2>/dev/null)" = "$with" ] || fresh=(--fresh)
  mkdir -p "build/$1"
  echo "$with" >"$of"
  cmake --preset "$1" -G "$generator" "${fresh[@]}"
}

# build PRESET [OPTION…]: builds it, with the options for cmake --build.
build() { cmake --build --preset "$1" --parallel "$(nproc)" "${@:2}"; }

# unpack_inputs FILE DIR: writes each line of a corpus, two hexadecimal digits for each byte, to a file in DIR.
unpack_inputs() {
  perl -ne 'BEGIN { $d = shift } chomp; open my $f, ">", "$d/$." or die; binmode $f; print $f pack "H*", $_' "$2" "$1"
}
