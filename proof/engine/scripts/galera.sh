#!/usr/bin/env bash
# MariaDB 10.11 and Galera 4 of Debian bookworm; state transfer by rsync. See
# lib.sh. Also: recover DIR, which prints the position (UUID:SEQNO) of a node
# that was killed, as systemd's unit asks for it before each start.
. "$(dirname "$0")/lib.sh"
ROOT=$ENGINE_CACHE/galera-bookworm
PROVIDER=$ROOT/usr/lib/galera/libgalera_smm.so

need() { # need PROGRAM: the state transfer's script tells it by its process's name, so not through a loader
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || die "no $1, which Galera's state transfer runs: install the package $2"
  log "installing the package $2"
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "$2" >/dev/null ||
    die "could not install the package $2: install it"
}

# helpers: what the transfer's script runs, beside it, where it looks first.
helpers() {
  local bin=$1/bin; mkdir -p "$bin"
  cp "$ROOT"/usr/bin/wsrep_sst_rsync "$ROOT"/usr/bin/wsrep_sst_common "$bin/"
  private_cmd "$ROOT" bin/my_print_defaults
  printf '#!/bin/sh\nexec %s"$@"\n' "$(printf "'%s' " "${PRIVATE_CMD[@]}")" >"$bin/my_print_defaults"
  # Started by root, the daemon would write as nobody.
  cat >"$bin/rsync" <<RSYNC
#!/bin/sh
[ "\$1" != --daemon ] || { shift; set -- --daemon --dparam=uid=$(id -u) --dparam=gid=$(id -g) "\$@"; }
exec $(command -v rsync) "\$@"
RSYNC
  chmod +x "$bin"/*
}

case ${1:-} in
install)
  need rsync rsync; need ss iproute2
  # mariadb-server alone is for wsrep_sst_rsync: it depends on much that this does not need.
  fetch "$ROOT" bookworm mariadb-server-core mariadb-client-core galera-4 +mariadb-server
  private_run "$ROOT" sbin/mariadbd --no-defaults --version
  ;;
init)
  shift
  maria_init "$ROOT" mysql "mysql_system_tables mysql_performance_tables mysql_system_tables_data maria_add_gis_sp_bootstrap mysql_sys_schema" "$@"
  for dir in "$@"; do helpers "$dir"; done
  ;;
serve)
  dir=$2; shift
  export PATH=$dir/bin:$PATH
  maria_serve "$ROOT" mysql "$@" --wsrep-provider="$PROVIDER"
  ;;
recover)
  dir=$2; shift
  (maria_serve "$ROOT" mysql "$@" --wsrep-provider="$PROVIDER" --wsrep-recover --log-error="$dir/recover.log") >/dev/null 2>&1 || true
  sed -n 's/.*Recovered position: *\([^ ]*\).*/\1/p' "$dir/recover.log" | tail -1
  rm -f "$dir/recover.log"
  ;;
*) die "usage: $SELF install | init DIR... | serve DIR ARG... | recover DIR ARG..." ;;
esac
