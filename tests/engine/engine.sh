#!/bin/sh
# A private Docker Engine for the quick start and for the tests, on machines where none runs.
#
#   engine.sh start DIR   start it (or reuse it when it already answers), wait until it answers
#   engine.sh stop DIR    stop it; no process, mount or socket of it is left. Images and layers stay
#   engine.sh purge DIR   stop it and remove its data
#   engine.sh status DIR  exit 0 when it answers
#   engine.sh env DIR     print the shell assignment that points the docker command at it
#
# DIR holds docker.sock, dockerd.log, dockerd.pid, exec/ (sockets and namespaces) and data/ (images). overlay2 needs
# a real file system below data/: when DIR is on tmpfs or overlayfs, data goes to /var/tmp if that is better.
# HAL9000_ENGINE_DATA names another place, HAL9000_ENGINE_TIMEOUT the seconds to wait for the engine (default 60).
# The engine has no bridge and touches no firewall: a container has the network of another container, of the host
# (while building), or none.
set -eu

die() {
    printf 'engine.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || usage
verb=$1
case $2 in
    /*) dir=$2 ;;
    *) dir=$(pwd)/$2 ;;
esac
socket=$dir/docker.sock
exec_root=$dir/exec
pidfile=$dir/dockerd.pid
log=$dir/dockerd.log
timeout_s=${HAL9000_ENGINE_TIMEOUT:-60}
tag=hal9000-$(printf %s "$dir" | cksum | cut -d' ' -f1)

fs_type() { stat -f -c %T "$1" 2>/dev/null || echo none; }

data_root() {
    if [ -n "${HAL9000_ENGINE_DATA:-}" ]; then
        echo "$HAL9000_ENGINE_DATA"
        return
    fi
    case $(fs_type "$dir") in
        tmpfs | ramfs | overlayfs | none)
            case $(fs_type /var/tmp) in
                tmpfs | ramfs | overlayfs | none) echo "$dir/data" ;;
                *) echo "/var/tmp/$tag" ;;
            esac
            ;;
        *) echo "$dir/data" ;;
    esac
}

answers() {
    [ -S "$socket" ] &&
        [ "$(curl -sf --max-time 2 --unix-socket "$socket" http://engine/_ping 2>/dev/null)" = OK ]
}

# Prints the engine's process id when it lives. The command line is compared, because a process id may be in use again.
engine_pid() {
    [ -r "$pidfile" ] || return 1
    pid=$(cat "$pidfile")
    [ -r "/proc/$pid/cmdline" ] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "unix://$socket" || return 1
    echo "$pid"
}

now_s() { cut -d. -f1 /proc/uptime; }

start() {
    for tool in dockerd containerd runc curl flock; do
        command -v "$tool" >/dev/null || die "$tool is not installed (Debian: docker.io curl util-linux)"
    done
    [ "$(id -u)" = 0 ] || die "must run as root"
    # 108 bytes is the limit of a unix socket's path; containerd's is the longest one under DIR.
    [ ${#dir} -le 70 ] || die "the path is too long for unix sockets: $dir"
    mkdir -p "$dir"
    exec 9>"$dir/lock"
    flock -w "$timeout_s" 9 || die "another start or stop in $dir does not end"
    answers && return 0
    sweep
    mkdir -p "$data" "$exec_root"
    printf '{}\n' >"$dir/daemon.json"
    # Own namespaces, in case a containerd of the system is used; own config file, because the system's may say other things.
    setsid dockerd \
        --config-file "$dir/daemon.json" --host "unix://$socket" --data-root "$data" --exec-root "$exec_root" \
        --pidfile "$pidfile" --containerd-namespace "$tag" --containerd-plugins-namespace "$tag-plugins" \
        --bridge=none --iptables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
        --shutdown-timeout 5 --log-opt max-size=10m </dev/null >"$log" 2>&1 9>&- &
    child=$!
    deadline=$(($(now_s) + timeout_s))
    until answers; do
        kill -0 "$child" 2>/dev/null || engine_pid >/dev/null || {
            tail -n 20 "$log" >&2
            die "dockerd ended; its log: $log"
        }
        [ "$(now_s)" -lt "$deadline" ] || {
            tail -n 20 "$log" >&2
            stop_engine
            die "dockerd does not answer after $timeout_s s; its log: $log"
        }
        sleep 0.05
    done
}

# Waits until process $1 is gone, at most $2 seconds.
wait_gone() {
    deadline=$(($(now_s) + $2))
    while [ -d "/proc/$1" ] && [ "$(now_s)" -lt "$deadline" ]; do
        sleep 0.05
    done
    [ ! -d "/proc/$1" ]
}

# Process ids of this engine's containerd and shims: their command lines name a file below DIR/exec.
helpers() {
    for entry in /proc/[0-9]*; do
        case $(cat "$entry/comm" 2>/dev/null) in
            containerd*) ;;
            *) continue ;;
        esac
        tr '\0' '\n' <"$entry/cmdline" 2>/dev/null | grep -qF "$exec_root/" || continue
        echo "${entry#/proc/}"
    done
}

children_of() { cat "/proc/$1/task/"*/children 2>/dev/null || true; }

# Removes what an engine that was killed left behind: containers, shims, containerd, mounts.
sweep() {
    data=$(data_root)
    for pid in $(helpers); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            containerd-shim*)
                for child in $(children_of "$pid"); do
                    kill -KILL "$child" 2>/dev/null || true
                done
                ;;
        esac
        kill -KILL "$pid" 2>/dev/null || true
        wait_gone "$pid" 5 || true
    done
    # Deepest first. A space and the like is \\ooo in mountinfo.
    awk '{ print $5 }' /proc/self/mountinfo | sort -r | sed 's/\\/\\0/g' | while read -r escaped; do
        point=$(printf %b "$escaped")
        case $point in
            "$exec_root" | "$exec_root"/* | "$data" | "$data"/*) umount "$point" 2>/dev/null || umount -l "$point" || true ;;
        esac
    done
    rm -rf "$exec_root"
    rm -f "$socket" "$pidfile"
}

stop_engine() {
    if pid=$(engine_pid); then
        kill -TERM "$pid" 2>/dev/null || true
        wait_gone "$pid" 30 || {
            kill -KILL "$pid" 2>/dev/null || true
            wait_gone "$pid" 5 || die "process $pid does not end"
        }
    fi
    sweep
}

stop() {
    [ -d "$dir" ] || return 0
    exec 9>"$dir/lock"
    flock -w "$timeout_s" 9 || die "another start or stop in $dir does not end"
    stop_engine
}

case $verb in
    start) start ;;
    stop) stop ;;
    purge)
        [ -d "$dir" ] || exit 0
        stop
        rm -rf "$data" "$dir"
        ;;
    status) answers ;;
    env) printf "DOCKER_HOST='unix://%s'; export DOCKER_HOST\n" "$(printf %s "$socket" | sed "s/'/'\\\\''/g")" ;;
    *) usage ;;
esac
