#!/bin/sh
# The last step of an image's build, in the image: finish.sh NAME GENERATION EPOCH
#
# Writes /usr/share/hal9000/manifest.json from the lists of what it was made from, and gives what this build has touched
# the time EPOCH (seconds since 1970), so that the same inputs make the same tree. Needs a shell and coreutils only.
set -eu

here=/usr/share/hal9000
# "packages": name, version, architecture and SHA-256 of each .deb. debian/root.sh has written it; apt knows it elsewhere.
if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t\n' >$here/packages
    ours=
else
    ours=yes
fi

tab=$(printf '\t')
list() { # FILE KEY1 KEY2…: the rows of the file as members of an array
    file=$1
    shift
    first=yes
    while IFS=$tab read -r a b c d; do
        [ -n "$first" ] || printf ','
        first=
        printf '\n    {"%s": "%s", "%s": "%s", "%s": "%s"' "$1" "$a" "$2" "$b" "$3" "$c"
        if [ $# -gt 3 ] && [ -n "$d" ]; then printf ', "%s": "%s"' "$4" "$d"; fi
        printf '}'
    done <"$file"
}
{
    printf '{\n  "image": "%s",\n  "generation": "%s",\n  "packages": [' "$1" "$2"
    list $here/packages name version architecture sha256
    printf '\n  ],\n  "downloads": ['
    list $here/downloads name version integrity
    printf '\n  ]\n}\n'
} >$here/manifest.json

# Of a public base most is younger than EPOCH and not ours to change.
[ -n "$ours" ] || exit 0
reference=/tmp/reference
touch -d "@$3" $reference
clamp() { # FOLDER EPOCH
    for entry in "$1"/* "$1"/.[!.]*; do
        if [ -L "$entry" ] || [ ! -e "$entry" ]; then continue; fi
        case $entry in /proc | /sys | /dev | /tmp | /etc/hosts | /etc/hostname | /etc/resolv.conf) continue ;; esac
        if [ -d "$entry" ]; then (clamp "$entry" "$2"); fi
        # shellcheck disable=SC3013 # every shell of Debian has it
        if [ "$entry" -nt $reference ]; then touch -d "@$2" "$entry"; fi
    done
}
clamp "" "$3"
rm $reference
touch -d "@$3" /tmp
