# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# Sourced: Debian packages of any release and architecture, through an apt configuration of our own.
# The machine's sources, package lists and installed packages are neither used nor touched.

: "${cache:?}"

# archive_base SUITE: the archive that the machine itself uses, by the Debian names of suites in its sources.
# Security updates come from an archive of their own.
archive_base() {
  local name base
  case $1 in
    *-security)
      name='[a-z]+-security'
      [[ -z ${KVM_VFIO_SECURITY_ARCHIVE:-} ]] || { printf '%s\n' "${KVM_VFIO_SECURITY_ARCHIVE%/}"; return; }
      ;;
    *)
      name='((old)*stable|testing|unstable|sid|bookworm|trixie|forky)(-updates|-backports)?'
      [[ -z ${KVM_VFIO_ARCHIVE:-} ]] || { printf '%s\n' "${KVM_VFIO_ARCHIVE%/}"; return; }
      ;;
  esac
  base=$(APT_CONFIG=$machine_apt_config apt-get --print-uris update 2> /dev/null |
    sed -nE "s,^'([^']*debian[^']*)/dists/$name/InRelease'.*,\1,p" | head -n 1) || true
  printf '%s\n' "$base"
}

# archive ARCH "SUITE..." [deb-src]: makes the configuration, and points apt at it; deb-src: for source packages.
# Without a source of security updates we do without them.
machine_apt_config=${APT_CONFIG:-}
archive() {
  local base suite signed='' kind=${3:-deb}
  apt_dir=$cache/apt/${2// /+}-$1${3:+-$3}
  mkdir -p "$apt_dir"/{lists,archives}/partial "$apt_dir/empty"
  : > "$apt_dir/status"
  : > "$apt_dir/sources.list"
  [[ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
  for suite in $2; do
    base=$(archive_base "$suite")
    if [[ -n $base ]]; then
      echo "$kind $signed$base $suite main" >> "$apt_dir/sources.list"
    elif [[ $suite == *-security ]]; then
      say "this machine's apt sources name no archive of security updates: the kernel may be an older one"
    else
      die "this machine's apt sources name no Debian archive; set KVM_VFIO_ARCHIVE to the address of one"
    fi
  done
  cat > "$apt_dir/apt.conf" << EOF
APT::Architecture "$1"; APT::Architectures { "$1"; };
Dir::Etc::SourceList "$apt_dir/sources.list"; Dir::Etc::SourceParts "$apt_dir/empty";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "$apt_dir/empty";
Dir::State "$apt_dir"; Dir::State::Lists "$apt_dir/lists"; Dir::State::Status "$apt_dir/status"; Dir::Cache "$apt_dir";
Acquire::Languages "none"; Acquire::Retries "3"; APT::Sandbox::User "root"; APT::Update::Error-Mode "any";
EOF
  export APT_CONFIG=$apt_dir/apt.conf
}

# Asks the archive at most once an hour.
archive_update() {
  [[ -z $(find "$apt_dir/asked" -mmin -60 2> /dev/null) ]] || return 0
  apt-get -q update > "$apt_dir/log" 2>&1 || return 1
  touch "$apt_dir/asked"
}

# newest "PACKAGE-@ ..." RELEASE: the newest release that all the packages have.
newest() {
  local release package
  # shellcheck disable=SC2086  # the packages are words
  set -- "$2" $1
  apt-cache pkgnames "${2%%@*}" | sed -nE "s/^${2%%@*}($1)\$/\1/p" | sort -Vr | while read -r release; do
    for package in "${@:2}"; do
      apt-cache show "${package/@/$release}" > /dev/null 2>&1 || continue 2
    done
    printf '%s\n' "$release"
    break
  done
}

version_of() { apt-cache show --no-all-versions "$1" 2> /dev/null | sed -n 's/^Version: //p' | head -n 1; }

# fresh DIRECTORY PACKAGE...: downloads and unpacks, into a directory that is emptied first.
fresh() {
  local to=$1 package
  rm -rf "$to"
  mkdir -p "$to/deb"
  for package in "${@:2}"; do
    (cd "$to/deb" && apt-get -q download "$package") > "$apt_dir/log" 2>&1 || return 1
  done
  for package in "$to"/deb/*.deb; do dpkg -x "$package" "$to"; done
  rm -r "$to/deb"
}

# patiently COMMAND...: a mirror in the middle of an update gives wrong checksums or missing files for a while.
patiently() {
  local try
  for try in 1 2 3 4; do
    ! "$@" || return 0
    [[ $try != 4 ]] || break
    say "the archive did not deliver (try $try of 4), again in 20 s"
    sleep 20
    rm -f "$apt_dir/asked"
    archive_update || true
  done
  sed 's/^/  /' "$apt_dir/log" >&2
  die "the archive did not deliver in four tries (above: apt's last words): it is unreachable or in the middle of an update"
}

done_with() { # DIRECTORY VERSION
  printf '%s\t%s\n' "$1/vmlinuz" "$2"
  exit 0
}

# use_cached HOME KEY WHY: ends with what is cached, if anything is.
use_cached() {
  local found
  found=$(find "$1" -mindepth 1 -maxdepth 1 -name "*_$2" -printf '%f\n' | sort -V | tail -n 1)
  [[ -n $found ]] || return 0
  say "$3: using the cached ${found%_*}"
  done_with "$1/$found" "${found%_*}"
}

# newest_package ARCH SUITES PACKAGES RELEASE HOME KEY: sets packages and version, or ends with what is cached.
newest_package() {
  local release
  archive "$1" "$2"
  if ! archive_update; then
    use_cached "$5" "$6" "the archive does not answer"
    patiently archive_update
  fi
  release=$(newest "$3" "$4")
  if [[ -z $release ]]; then
    use_cached "$5" "$6" "the archive has no release $4 of ${3//@/*}"
    die "the archive has no release $4 of ${3//@/*} for $1 in $2"
  fi
  read -ra packages <<< "${3//@/$release}"
  version=$(version_of "${packages[0]}")
  [[ -n $version ]] || die "apt does not know the version of ${packages[0]}"
  [[ ! -d $5/${version}_$6 ]] || done_with "$5/${version}_$6" "$version"
}
