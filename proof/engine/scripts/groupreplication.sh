#!/usr/bin/env bash
# MySQL 9.7 of Debian sid, whose packages carry Group Replication. See lib.sh.
. "$(dirname "$0")/lib.sh"
ROOT=$ENGINE_CACHE/mysql-sid
SHARE=$ROOT/usr/share/mysql
ARGS=(--basedir="$ROOT/usr" --plugin-dir="$ROOT/usr/lib/mysql/plugin" --lc-messages-dir="$SHARE"
  --character-sets-dir="$SHARE/charsets" --secure-file-priv=NULL --user="$(id -un)")

# One initialized directory serves all nodes: with the same users in each, none
# starts with a transaction of its own.
init() {
  mkdir -p "$1/data" "$1/tmp"
  cat >"$1/init.sql" <<'SQL'
SET SESSION sql_log_bin=0;
CREATE USER root@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO repl@'127.0.0.1';
SQL
  private_run "$ROOT" sbin/mysqld --no-defaults "${ARGS[@]}" --datadir="$1/data" --tmpdir="$1/tmp" \
    --initialize-insecure --skip-log-bin --init-file="$1/init.sql" >"$1/init.log" 2>&1 ||
    { tail -n 25 "$1/init.log" >&2; die "mysqld --initialize-insecure could not fill $1/data"; }
  rm -f "$1/data/auto.cnf" # the server's UUID, which each makes for itself
  copy_data "$@"
}

case ${1:-} in
install)
  fetch "$ROOT" sid mysql-server-core
  private_run "$ROOT" sbin/mysqld --no-defaults --version
  ;;
init) shift; init "$@" ;;
serve)
  dir=$2; shift 2
  private_exec "$ROOT" sbin/mysqld --defaults-file="$dir/my.cnf" "${ARGS[@]}" "$@"
  ;;
*) die "usage: $SELF install | init DIR... | serve DIR ARG..." ;;
esac
