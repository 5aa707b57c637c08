#!/bin/bash
# Real systemd as PID 1 in namespaces of its own, on an overlay of this machine's root: system bus, journal, control
# groups. What it writes is gone afterwards. Needs root, systemd, dbus and util-linux; the kernel's network is shared.
#
#   nested_systemd.sh up DIR [BIND...]   boots; DIR (made) keeps its state, each BIND is seen inside at the same path
#   nested_systemd.sh run DIR CMD...     runs a command inside
#   nested_systemd.sh down DIR           ends it and cleans up; DIR is removed
set -euo pipefail

verb=${1:?up, run or down}
dir=${2:?a directory}
shift 2
root=$dir/root
cgroups=/sys/fs/cgroup/unified
[ -d "$cgroups" ] || cgroups=/sys/fs/cgroup
group=$cgroups/hal9000-nested-$(basename "$dir")

enter() {
  nsenter --target "$(cat "$dir/pid")" --mount --pid --cgroup --uts --ipc --root --wd "$@"
}

boot() {
  # Runs as the first process of the new namespaces.
  mount --make-rprivate /
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  mount --rbind /dev "$root/dev"
  mkdir -p "$root/run/lock"
  for bind in "$@"; do
    mkdir -p "$root$bind"
    mount --rbind "$bind" "$root$bind"
  done
  rm -f "$root/etc/machine-id"
  head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$root/etc/machine-id"
  cd "$root"
  exec env -i container=hal9000-test PATH="$PATH" chroot "$root" /lib/systemd/systemd --system --unit=basic.target
}

up() {
  mkdir -p "$dir/layer" "$root"
  mount -t tmpfs tmpfs "$dir/layer"
  mkdir "$dir/layer/upper" "$dir/layer/work"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/layer/upper,workdir=$dir/layer/work" "$root"
  mkdir -p "$group"
  # shellcheck disable=SC2016  # expanded by the inner shell
  setsid bash -c 'echo $$ > "$1/cgroup.procs"; echo $$ > "$2/outer"; shift 2
    exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child -- "$@"' \
    - "$group" "$dir" bash "$0" boot "$dir" "$@" > "$dir/log" 2>&1 < /dev/null &
  local pid='' state=''
  for _ in $(seq 150); do
    if [ -z "$pid" ] && [ -s "$dir/outer" ]; then
      pid=$(pgrep -P "$(cat "$dir/outer")" || true)
    fi
    if [ -n "$pid" ]; then
      echo "$pid" > "$dir/pid"
      state=$(enter systemctl is-system-running 2>/dev/null || true)
      case $state in running | degraded) break ;; esac
    fi
    sleep 0.2
  done
  case $state in
    running | degraded) ;;
    *)
      echo "systemd did not come up (${state:-no answer}):" >&2
      tail -n 20 "$dir/log" >&2
      exit 1
      ;;
  esac
  # Credentials and mounts of units need it; systemd leaves it to the host when it runs in a container.
  enter mount --make-rshared /
  enter systemctl start dbus.service
}

down() {
  local file
  for file in "$dir/pid" "$dir/outer"; do
    [ -s "$file" ] || continue
    kill -KILL "$(cat "$file")" 2>/dev/null || true
    timeout 5 tail --pid="$(cat "$file")" -f /dev/null || true
  done
  umount --recursive "$root" 2>/dev/null || true
  umount "$dir/layer" 2>/dev/null || true
  for _ in $(seq 20); do
    [ -d "$group" ] || break
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
  done
  rm -rf --one-file-system "$dir"
}

case $verb in
  up) up "$@" ;;
  run) enter "$@" ;;
  down) down ;;
  boot) boot "$@" ;;
  *)
    echo "unknown: $verb" >&2
    exit 2
    ;;
esac
