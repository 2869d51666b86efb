# Debian's Redis, for a machine without one. Its packages are unpacked into a
# private root, so that nothing on the machine changes, and any user can do it.
#
#   install      what is missing, into $PEER_CACHE; prints the version
#   serve ARG... becomes the server
set -euo pipefail
: "${PEER_CACHE:?is the directory to install into}"
SUITE=trixie
ROOT=$PEER_CACHE/redis-$SUITE

log() { printf 'redis.sh: %s\n' "$*" >&2; }
die() { log "$*"; exit 1; }

case $(uname -m) in
x86_64) TRIPLE=x86_64-linux-gnu LOADER=ld-linux-x86-64.so.2 ;;
aarch64) TRIPLE=aarch64-linux-gnu LOADER=ld-linux-aarch64.so.1 ;;
*) die "Debian's packages are taken for amd64 and arm64, not for $(uname -m): install redis-server" ;;
esac

# debian_uri: the mirror that this machine's own apt uses for the main archive.
debian_uri() {
  local u
  u=$(awk '/^URIs:/ {u=$2} /^Suites:/ && $0 !~ /-security/ {print u; exit}' \
    /etc/apt/sources.list.d/debian.sources 2>/dev/null) || true
  [ -n "$u" ] || u=$(awk '$1=="deb" && $0 !~ /-security/ {for (i=2;i<=NF;i++) if ($i ~ /^[a-z]+:\/\//) {print $i; exit}}' \
    /etc/apt/sources.list 2>/dev/null) || true
  [ -n "$u" ] || die "no Debian mirror in /etc/apt: install redis-server"
  printf '%s\n' "$u"
}

# install: the package and all that it depends on, down to libc, as this apt
# believes that nothing is installed. ROOT gets its name when it is complete,
# so a killed install leaves none.
install() {
  local work=$ROOT.tmp deb
  mkdir -p "$PEER_CACHE"
  exec 9>"$ROOT.lock"
  flock -w 600 9 || die "another program has been installing $ROOT for 10 minutes: see what it does"
  [ ! -e "$ROOT" ] || return 0 # by whom we waited for
  rm -rf "$work"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/root"
  : >"$work/state/status"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$(debian_uri)" "$SUITE" >"$work/sources.list"
  local apt=(apt-get -o "Dir::State=$work/state" -o "Dir::State::status=$work/state/status"
    -o "Dir::Cache=$work/cache" -o "Dir::Etc::sourcelist=$work/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=
    -o APT::Install-Recommends=false -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Update::Post-Invoke::= -o APT::Update::Post-Invoke-Success::=
    -o Acquire::Retries=3)
  log "downloading redis-server of Debian $SUITE"
  { "${apt[@]}" update && "${apt[@]}" -y --download-only install redis-server; } >"$work/log" 2>&1 ||
    { tail -n 25 "$work/log" >&2; die "apt-get could not download redis-server: is the mirror reachable? else install it"; }
  for deb in "$work"/cache/archives/*.deb; do
    case ${deb##*/} in perl* | libperl*) continue ;; esac # for scripts that we do not run
    dpkg-deb --extract "$deb" "$work/root"
  done
  mv "$work/root" "$ROOT"
  rm -rf "$work"
  log "installed $ROOT in $SECONDS s"
}

# serve runs the server with the root's own dynamic loader and libraries, so
# that the machine's libc does not matter.
serve() {
  local libs=$ROOT/usr/lib/$TRIPLE program=$ROOT/usr/bin/redis-server
  # The machine's OpenSSL configuration is for another OpenSSL.
  OPENSSL_CONF=/dev/null exec "$libs/$LOADER" --argv0 "$program" --library-path "$libs" "$program" "$@"
}

case ${1:-} in
install)
  [ -e "$ROOT" ] || install
  exec 9>&-
  serve --version
  ;;
serve) shift; serve "$@" ;;
*) die "usage: install | serve ARG..." ;;
esac
