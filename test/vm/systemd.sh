#!/bin/sh
# Starts systemd as the first process of namespaces of its own in the guest, and runs a command beside it.
#   systemd.sh COMMAND…
# Nothing but what is listed here is started: the bus, and one target that wants it.
set -eu
units=$(mktemp -d)
cat > "$units/guest.target" <<'U'
[Unit]
DefaultDependencies=no
Wants=dbus.socket
U
cat > "$units/dbus.socket" <<'U'
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
U
cat > "$units/dbus.service" <<'U'
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only
U
# A cgroup namespace is rooted where its maker is: not in the real root, which systemd could not tell from its own.
mkdir /sys/fs/cgroup/systemd
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
unshare --pid --mount --fork --kill-child --propagation private sh -c '
  set -eu
  echo 0 > /sys/fs/cgroup/systemd/cgroup.procs
  exec unshare --cgroup sh -c "
    set -eu
    mount -t proc proc /proc
    umount /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs -o mode=755 run /run
    mkdir -p /run/systemd/system
    cp \"\$1\"/* /run/systemd/system/
    export container=guest
    exec /lib/systemd/systemd --unit=guest.target --log-target=null --show-status=no" sh "$1"' sh "$units" >/dev/null 2>&1 &
unshare=$!
init=
for _ in $(seq 1000); do
  init=$(cat "/proc/$unshare/task/$unshare/children" 2>/dev/null | tr -d ' ') || true
  if [ -n "$init" ] && [ -S "/proc/$init/root/run/dbus/system_bus_socket" ]; then break; fi
  sleep 0.05
done
[ -n "$init" ] || { echo 'systemd does not start' >&2; exit 125; }
exec nsenter --target "$init" --pid --mount --cgroup --wd="$PWD" "$@"
