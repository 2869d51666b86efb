#!/usr/bin/env bash
# MariaDB 11.8 of Debian sid. See lib.sh.
. "$(dirname "$0")/lib.sh"
ROOT=$ENGINE_CACHE/mariadb11-sid

case ${1:-} in
install)
  fetch "$ROOT" sid mariadb-server-core
  private_run "$ROOT" sbin/mariadbd --no-defaults --version
  ;;
init)
  shift
  maria_init "$ROOT" mariadb "mariadb_system_tables mariadb_performance_tables mariadb_system_tables_data maria_add_gis_sp_bootstrap mariadb_sys_schema" "$@"
  ;;
serve) shift; maria_serve "$ROOT" mariadb "$@" ;;
*) die "usage: $SELF install | init DIR... | serve DIR ARG..." ;;
esac
