# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# Sourced by the scripts beside it: messages, the table, the cache.

: "${here:?}"
self=${0##*/}
say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() { say "$*"; exit "${failure:-1}"; }

# depmod and modprobe are there, and not everybody's PATH names it.
PATH=$PATH:/usr/sbin:/sbin

# shellcheck disable=SC2034  # for the callers
cache=${KVM_VFIO_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither KVM_VFIO_CACHE nor HOME is set}/.cache}/kvm_vfio}/kernels

# kernel NAME: sets k_arch, k_suites, ... from the kernel's line of the table.
# shellcheck disable=SC2034  # the callers use them
kernel() {
  local name
  while IFS=$'\t' read -r name k_arch k_suites k_packages k_release k_modules k_machine k_profile k_fragment k_has; do
    if [[ $name == "$1" ]]; then
      [[ -n $k_has ]] || die "kernels.tsv: the line of $1 has fewer than ten fields"
      [[ $k_modules != - ]] || k_modules=
      [[ $k_fragment != - ]] || k_fragment=
      return 0
    fi
  done < "$here/kernels.tsv"
  die "no kernel is called '$1'; there are: $(names)"
}

names() { grep -v '^#' "$here/kernels.tsv" | cut -f1 | paste -sd' '; }

# Two runs at once must not fetch or build the same thing twice.
lock() {
  mkdir -p "$1"
  exec {lock_fd}> "$1/lock"
  flock -n "$lock_fd" || { say "waiting for another run that holds $1/lock"; flock "$lock_fd"; }
}
unlock() { exec {lock_fd}>&-; }
