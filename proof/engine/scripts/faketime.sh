#!/usr/bin/env bash
# libfaketime of Debian bookworm, which also servers with a later libc load.
# install prints the library's path. See lib.sh.
. "$(dirname "$0")/lib.sh"
ROOT=$ENGINE_CACHE/faketime-bookworm

case ${1:-} in
install)
  fetch "$ROOT" bookworm +libfaketime
  printf '%s\n' "$ROOT/usr/lib/$TRIPLE/faketime/libfaketimeMT.so.1"
  ;;
*) die "usage: $SELF install" ;;
esac
