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

# need PACKAGE…: installs, by apt, those that are missing.
need() {
  local missing=() package sudo=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "needs these packages, and there is no apt: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "needs root or sudo to install: ${missing[*]}"
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -qq -y --no-install-recommends install)
  "${install[@]}" "${missing[@]}" >/dev/null 2>&1 && return 0
  # The package lists may be old, or not there yet.
  "${sudo[@]}" apt-get -o Acquire::Retries=3 -qq update >&2 || die "apt-get update failed"
  "${install[@]}" "${missing[@]}" >&2 || die "could not install: ${missing[*]}"
}
