#!/bin/sh
# Makes a root file system from Debian packages: root.sh TREE PACKAGE...
#
# Packages are unpacked, not installed: no maintainer script runs, so the tree needs no dpkg, no debconf and no perl.
# What their scripts would have done is done here, for the few packages where it matters. Documentation, translations
# and the packaging tools are removed; copyright files stay. Every set-id bit is dropped.
#
# HAL9000_DEBIAN_SUITE (default bookworm), HAL9000_DEBIAN_MIRROR (default: mmdebstrap's own choice for the suite).
set -eu

[ $# -ge 2 ] || {
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
}
tree=$1
shift
suite=${HAL9000_DEBIAN_SUITE:-bookworm}
include=$(printf '%s,' "$@")
log=$tree.log

# In hooks $1 is the tree, given by mmdebstrap.
# shellcheck disable=SC2016
{
    merge='for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'
    manifest='mkdir -p "$1/usr/share/hal9000"
        for deb in "$1"/var/cache/apt/archives/*.deb; do
            sum=$(sha256sum "$deb") && dpkg-deb -W --showformat="\${Package}\t\${Version}\t\${Architecture}\t${sum%% *}\n" "$deb"
        done | LC_ALL=C sort >"$1/usr/share/hal9000/packages"'
}

unpack() {
    set -- --quiet --variant=extract --include="${include%,}" --setup-hook="$merge" --extract-hook="$manifest" \
        "$suite" "$tree" ${HAL9000_DEBIAN_MIRROR:+"$HAL9000_DEBIAN_MIRROR"}
    mmdebstrap "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "root.sh: cannot make a root of Debian $suite from ${HAL9000_DEBIAN_MIRROR:-the default mirror}" >&2
        exit 1
    }
    rm -f "$log"
}

configure() {
    cp usr/share/base-passwd/passwd.master etc/passwd
    cp usr/share/base-passwd/group.master etc/group
    cp usr/share/libc-bin/nsswitch.conf etc/nsswitch.conf
    cp usr/share/base-files/profile etc/profile
    [ ! -e usr/bin/mawk ] || ln -sf mawk usr/bin/awk
    [ ! -e usr/bin/which.debianutils ] || ln -sf which.debianutils usr/bin/which
    [ ! -e usr/bin/gcc ] || ln -sf gcc usr/bin/cc
    [ ! -e usr/bin/g++ ] || ln -sf g++ usr/bin/c++
    [ ! -e usr/share/maven/bin/mvn ] || ln -sf ../share/maven/bin/mvn usr/bin/mvn
    for program in usr/lib/jvm/java-*-openjdk-*/bin/*; do
        [ ! -e "$program" ] || ln -sf "../${program#usr/}" usr/bin/
    done
    [ ! -e usr/bin/less ] || ln -sf less usr/bin/pager
    if [ -d usr/share/ca-certificates ]; then
        find usr/share/ca-certificates -name '*.crt' | sort | xargs cat >etc/ssl/certs/ca-certificates.crt
    fi
    # Resolved by the engine at run time; the machine's own must not get into an image.
    : >etc/resolv.conf
    : >etc/hostname
}

trim() {
    find usr/share/doc -mindepth 1 ! -type d ! -name copyright -delete
    find usr/share/doc -type d -empty -delete
    find usr/share/doc -type f -name copyright -exec gzip -9n {} +
    (
        cd usr/share
        rm -rf base-files base-passwd bash-completion bug ca-certificates debconf debianutils dict doc-base dpkg \
            gitweb info libc-bin libgcrypt20 lintian locale man menu perl perl5 pixmaps polkit-1 python3 zsh
    )
    # The packaging tools and perl are here because packages name them as dependencies of their scripts.
    (
        cd usr/bin
        rm -f apt* bashbug c_rehash captoinfo corelist cpan* deb-* debconf* dpkg* enc2xs encguess gzexe h2ph h2xs instmodsh \
            json_pp libnetcfg openssl perl* piconv pl2pm pod2* podchecker prove ptar* ptargrep savelog shasum splain \
            streamzip tzselect update-alternatives xsubpp zipdetails
    )
    (
        cd usr/sbin
        rm -f add-shell dpkg* iconvconfig installkernel invoke-rc.d ldconfig* remove-shell rmt-tar service \
            start-stop-daemon tarcat update-* zic
    )
    rm -rf usr/lib/*/perl usr/lib/*/perl-base usr/lib/*/gconv usr/lib/*/libperl.so* usr/lib/*/engines-3 \
        usr/lib/*/ossl-modules usr/lib/*/libgdbm*.so* usr/lib/*/libdb-5*.so usr/lib/*/sasl2 usr/lib/sasl2 \
        usr/lib/*/libmemusage.so usr/lib/systemd usr/lib/mime
    # Libraries that no program here loads.
    rm -f usr/lib/*/libbrotlienc.so* usr/lib/*/libnss_hesiod.so* usr/lib/*/libnss_compat.so* usr/lib/*/libdebconfclient.so* \
        usr/lib/*/libBrokenLocale.so* usr/lib/*/libpcprofile.so usr/lib/*/libformw.so* usr/lib/*/libmenuw.so* \
        usr/lib/*/libpanelw.so* usr/lib/*/libmd.so* usr/bin/localedef
    rm -rf boot etc/alternatives etc/apt etc/ca-certificates etc/cron* etc/debconf.conf etc/default etc/dpkg etc/fstab \
        etc/init.d etc/logrotate.d etc/perl etc/python3 etc/rc?.d etc/sysctl* etc/systemd etc/update-motd.d
    # Of git: the client. Its servers, mail and Subversion parts need programs that are not here.
    if [ -d usr/lib/git-core ]; then
        (
            cd usr/lib/git-core
            rm -rf git-add--interactive git-archimport git-citool git-cvs* git-daemon git-gui git-http-backend \
                git-http-push git-imap-send git-instaweb git-p4 git-send-email git-svn git-shell scalar
        )
        rm -rf usr/bin/git-shell usr/bin/scalar usr/share/git-core/contrib usr/share/gitweb
    fi
    [ -e usr/bin/gcc ] || rm -f usr/lib/*/libmvec.so*  # libm's linker script names it
    # Of compilers and languages: no sanitizers, nothing to link programs or Java runtimes with the language inside.
    rm -f usr/bin/*-lto-dump* usr/lib/*/lib*san.so* usr/lib/gcc/*/*/lib*san* usr/lib/*/libpython3*.a usr/lib/*/libitm.* \
        usr/lib/*/libquadmath.a usr/lib/python3*/config-*/*.a usr/lib/jvm/*/lib/server/classes_nocoops.jsa
    rm -rf usr/lib/jvm/*/jmods usr/lib/gcc/*/*/plugin usr/lib/python3*/test
    rm -rf var/cache var/lib/apt var/lib/dpkg var/backups var/log/*
    find usr -depth -type d -name __pycache__ -exec rm -rf {} +
    # Terminal descriptions: those of terminals in use. The basic ones are in /lib/terminfo (Debian 12) or here as well (13).
    if [ -d usr/share/terminfo ]; then
        find usr/share/terminfo ! -type d ! -name 'alacritty*' ! -name ansi ! -name dumb ! -name 'gnome*' ! -name 'iterm2*' \
            ! -name 'konsole*' ! -name linux ! -name 'mintty*' ! -name 'putty*' ! -name 'rxvt*' ! -name 'screen*' \
            ! -name 'st-*' ! -name 'tmux*' ! -name vt100 ! -name vt102 ! -name vt220 ! -name 'vte*' ! -name 'xterm*' -delete
        find usr/share/terminfo -type d -empty -delete
        # Terminals that bring their own description, which no package here has; all understand xterm's.
        for name in foot foot-extra ghostty rio wezterm xterm-ghostty xterm-kitty; do
            letter=usr/share/terminfo/$(printf %.1s "$name")
            mkdir -p "$letter"
            for known in lib/terminfo/x/xterm-256color usr/share/terminfo/x/xterm-256color; do
                [ ! -e "$known" ] || ln -sf "/$known" "$letter/$name"
            done
        done
    fi
    find . -xdev -perm /6000 ! -type l -exec chmod ug-s {} +
}

unpack
cd "$tree"
configure
trim
mkdir -p proc sys dev run tmp
chmod 1777 tmp
