# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# Sourced: programs of Debian's releases, each in a directory of its own in the cache, with all libraries that the
# program needs. Nothing of that is installed on the machine, and nothing needs root.

: "${kernels:?}"
here=$kernels
# shellcheck source=tests/conformance/kernels/lib.sh
. "$kernels/lib.sh"
# shellcheck source=tests/conformance/kernels/debian.sh
. "$kernels/debian.sh"
unmodified=${cache%/kernels}/unmodified
dpkg_arch=$(dpkg --print-architecture)

# update: asks the archive for its lists, one run at a time. Fails if the archive does not answer.
update() (
  lock "$apt_dir"
  archive_update
)

# tree NAME SUITES [--alone] PACKAGE...: prints the directory in the cache that has the files of the newest packages
# and of all packages that they depend on. With --alone: of these packages only. If the archive does not answer, the
# newest directory of the cache is taken. Fails if there is none, and says the reason.
tree() (
  name=$1 suites=$2
  shift 2
  closure=yes
  [[ $1 != --alone ]] || { closure=; shift; }
  home=$unmodified/$name
  lock "$home"
  key=$(printf '%s\n' "$suites" "$closure" "$@" | sha256sum | cut -c1-8)
  archive "$dpkg_arch" "$suites"
  version=
  ! update || version=$(version_of "$1")
  if [[ -z $version ]]; then
    found=$(find "$home" -mindepth 1 -maxdepth 1 -name "*_$key" | sort -V | tail -n 1)
    [[ -n $found ]] || { say "the archive does not give $1 of ${suites##* }"; return 1; }
    say "the archive does not give $1 of ${suites##* }: the copy in the cache is used"
    printf '%s\n' "$found"
    return
  fi
  # A colon separates directories in lists of them.
  version=${version//:/.}
  kept=$home/${version}_$key
  if [[ ! -d $kept ]]; then
    say "downloading $1 $version of ${suites##* }"
    work=$(mktemp -d "$home/tmp.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/deb/partial" "$work/tree"
    if [[ -n $closure ]]; then
      # apt's list of installed packages is empty here, so that it takes every dependency.
      apt-get -q -y --no-install-recommends --download-only -o Dir::Cache::archives="$work/deb" install "$@" \
        >"$work/log" 2>&1
    else
      (cd "$work/deb" && apt-get -q download "$@") >"$work/log" 2>&1
    fi || {
      say "apt does not deliver $1: $(grep -m 1 '^E: ' "$work/log" || tail -n 1 "$work/log")"
      return 1
    }
    for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/tree" || return 1; done
    mv -T "$work/tree" "$kept"
    # An older version is of no use any more.
    find "$home" -mindepth 1 -maxdepth 1 -name "*_$key" ! -name "${version}_$key" -exec rm -rf {} +
  fi
  printf '%s\n' "$kept"
)

# start TREE PROGRAM: prints the command that runs TREE/PROGRAM with the libraries of that tree, one word a line.
start() {
  local loader directories
  loader=$(find "$1"/lib64 "$1"/usr/lib64 "$1"/lib "$1"/usr/lib -name 'ld-linux*.so.*' 2>/dev/null | head -n 1) || true
  [[ -n $loader ]] || { say "$1 has no dynamic loader"; return 1; }
  directories=$(find "$1" -name '*.so.*' ! -path '*/glibc-hwcaps/*' -printf '%h\n' | sort -u | paste -sd:)
  printf '%s\n' "$loader" --library-path "$directories" --argv0 "${2##*/}" "$1/$2"
}
