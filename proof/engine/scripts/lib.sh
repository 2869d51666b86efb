# Shared by the scripts beside this file; sourced, never run. They know where
# an engine's programs come from and how its data directory is made. Processes,
# ports and SQL are the Go package's.
#
#   SCRIPT install           what is missing, into $ENGINE_CACHE; prints the version
#   SCRIPT init DIR...       an empty data directory DIR/data (each DIR the same)
#   SCRIPT serve DIR ARG...  becomes the server, on DIR/my.cnf
#
# Debian's packages are unpacked into private roots, so that nothing on the
# machine changes, and any user can do it.
set -euo pipefail
: "${ENGINE_CACHE:?is the directory to install into}"
SELF=$(basename "$0")

log() { printf '%s: %s\n' "$SELF" "$*" >&2; }
die() { log "$*"; exit 1; }

case $(uname -m) in
x86_64) TRIPLE=x86_64-linux-gnu LOADER=ld-linux-x86-64.so.2 ;;
aarch64) TRIPLE=aarch64-linux-gnu LOADER=ld-linux-aarch64.so.1 ;;
*) die "Debian's packages are taken for amd64 and arm64, not for $(uname -m)" ;;
esac

# debian_uri: the mirror that this machine's own apt uses for the main archive.
debian_uri() {
  local u
  u=$(awk '/^URIs:/ {u=$2} /^Suites:/ && $0 !~ /-security/ {print u; exit}' \
    /etc/apt/sources.list.d/*.sources 2>/dev/null) || true
  [ -n "$u" ] || u=$(awk '$1=="deb" && $0 !~ /-security/ {for (i=2;i<=NF;i++) if ($i ~ /^[a-z]+:\/\//) {print $i; exit}}' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null) || true
  [ -n "$u" ] || die "no Debian mirror in /etc/apt: run this on Debian"
  printf '%s\n' "$u"
}

# private_cmd ROOT PROGRAM ARG...: sets PRIVATE_CMD to run ROOT/usr/PROGRAM with
# the root's own dynamic loader and libraries. Unlike LD_LIBRARY_PATH,
# --library-path is not inherited by what the program may start.
private_cmd() {
  local root=$1 program=$2 loader; shift 2
  loader=$root/usr/lib/$TRIPLE/$LOADER
  [ -e "$loader" ] || loader=$root/lib/$TRIPLE/$LOADER # before trixie
  PRIVATE_CMD=("$loader" --argv0 "$root/usr/$program"
    --library-path "$root/usr/lib/$TRIPLE:$root/lib/$TRIPLE" "$root/usr/$program" "$@")
}

# The machine's OpenSSL configuration is for another OpenSSL.
private_run() { private_cmd "$@"; OPENSSL_CONF=/dev/null "${PRIVATE_CMD[@]}"; }
private_exec() { private_cmd "$@"; OPENSSL_CONF=/dev/null exec "${PRIVATE_CMD[@]}"; }

# fetch ROOT SUITE PACKAGE...: the packages and all that they depend on, down to
# libc, as this apt believes that nothing is installed; +PACKAGE alone. ROOT
# gets its name when it is complete, so a killed fetch leaves none.
fetch() {
  local root=$1 suite=$2 work=$1.tmp t=$SECONDS p deb; shift 2
  [ ! -e "$root" ] || return 0
  mkdir -p "$ENGINE_CACHE"
  exec 9>"$root.lock"
  flock -w 900 9 || die "another program has been installing $root for 15 minutes: see what it does"
  [ ! -e "$root" ] || { exec 9>&-; return 0; } # by whom we waited for
  rm -rf "$work"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/root"
  : >"$work/state/status"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$(debian_uri)" "$suite" >"$work/sources.list"
  local apt=(apt-get -o "Dir::State=$work/state" -o "Dir::State::status=$work/state/status"
    -o "Dir::Cache=$work/cache" -o "Dir::Etc::sourcelist=$work/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=
    -o APT::Install-Recommends=false -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Update::Post-Invoke::= -o APT::Update::Post-Invoke-Success::=
    -o Acquire::Retries=3)
  local whole=() alone=()
  for p in "$@"; do case $p in +*) alone+=("${p#+}") ;; *) whole+=("$p") ;; esac; done
  log "downloading ${whole[*]} ${alone[*]} of Debian $suite"
  { "${apt[@]}" update &&
    { [ ${#whole[@]} = 0 ] || "${apt[@]}" -y --download-only install "${whole[@]}"; } &&
    { [ ${#alone[@]} = 0 ] || (cd "$work/cache/archives" && "${apt[@]}" download "${alone[@]}"); }
  } >"$work/log" 2>&1 || { tail -n 25 "$work/log" >&2; die "apt-get could not download $*: is the mirror reachable?"; }
  for deb in "$work"/cache/archives/*.deb; do
    case ${deb##*/} in perl* | libperl*) continue ;; esac # for scripts that we do not run
    dpkg-deb --extract "$deb" "$work/root"
  done
  mv "$work/root" "$root"
  rm -rf "$work"
  exec 9>&-
  log "installed $root in $((SECONDS - t)) s"
}

# copy_data DIR OTHER...: the data directory of DIR for the others, too.
copy_data() {
  local from=$1 to; shift
  for to in "$@"; do mkdir -p "$to/tmp"; cp -a --sparse=always "$from/data" "$to/data"; done
}

# maria_init ROOT SHARE SQLFILES DIR...: what mariadb-install-db does, which
# would run its programs with the machine's loader; and root from 127.0.0.1.
maria_init() {
  local root=$1 share=$1/usr/share/$2 files=$3 f; shift 3
  mkdir -p "$1/data" "$1/tmp"
  { printf '%s;\n' 'CREATE DATABASE mysql' 'USE mysql' 'SET @auth_root_socket=NULL' # a statement a line
    for f in $files; do cat "$share/$f.sql"; echo; done
    printf '%s;\n' "REPLACE INTO mysql.global_priv SELECT '127.0.0.1', User, Priv FROM mysql.global_priv WHERE User='root' AND Host='localhost'" \
      "DELETE FROM mysql.global_priv WHERE User=''"
  } | private_run "$root" sbin/mariadbd --no-defaults --user="$(id -un)" --datadir="$1/data" --tmpdir="$1/tmp" \
    --lc-messages-dir="$share" --character-sets-dir="$share/charsets" --bootstrap --log-warnings=0 \
    --enforce-storage-engine= --max-allowed-packet=8M --net-buffer-length=16K >"$1/init.log" 2>&1 ||
    { tail -n 25 "$1/init.log" >&2; die "mariadbd --bootstrap could not fill $1/data"; }
  copy_data "$@"
}

# maria_serve ROOT SHARE DIR ARG...
maria_serve() {
  local root=$1 share=$1/usr/share/$2 dir=$3; shift 3
  private_exec "$root" sbin/mariadbd --defaults-file="$dir/my.cnf" --user="$(id -un)" --basedir="$root/usr" \
    --plugin-dir="$root/usr/lib/mysql/plugin" --lc-messages-dir="$share" --character-sets-dir="$share/charsets" "$@"
}
