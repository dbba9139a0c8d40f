# shellcheck shell=bash
# The standard library's source for a compiler that came without it, where rustup's server is not reached: Debian keeps
# the source of recent releases in a suite of its own, and library and compiler mix when their numbers are the same. The
# alternative, Debian's own compiler, takes 1.7 times the CPU time for the same work.

# The suite that keeps each of the last releases, not only the newest.
JOS_LIBRARY_SUITE=trixie-backports

# library_beside RUSTC VERSION: puts together, in $JOS_CACHE/rust/VERSION, a sysroot of links to that compiler's own
# files with Debian's source in it. Nothing of the compiler's own folder is touched, and no root is needed. apt checks
# the archive's signature. Fails, and leaves nothing, where there is no such source.
library_beside() {
    local rustc=$1 version=$2 sysroot=$JOS_CACHE/rust/$2 from mirror work deb entry
    have apt-get && have dpkg-deb || return 1
    from=$("$rustc" --print sysroot) || return 1
    # Before apt's first update it does not know whose they are: then the address tells.
    # shellcheck disable=SC2016  # apt's own words
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)/$(LABEL)' 'Created-By: Packages' 2>/dev/null \
        | awk '$2 == "Debian/Debian" || $1 ~ /\/debian\/$/ { print $1; exit }')
    [ -n "$mirror" ] || return 1
    mkdir -p "$JOS_CACHE/rust"
    work=$(mktemp -d "$JOS_CACHE/rust/.new-XXXXXX") || return 1
    if deb=$(library_fetch "$mirror" "$version" "$work") \
        && dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work" --wildcards "./usr/src/rustc-$version/library/*" \
        && [ -f "$work/usr/src/rustc-$version/library/std/Cargo.toml" ]; then
        mkdir -p "$work/sysroot/bin" "$work/sysroot/lib/rustlib/src/rust"
        for entry in "$from"/lib/* "$from"/lib/rustlib/*; do
            case ${entry#"$from"/lib/} in
                rustlib | rustlib/src) ;;
                *) ln -s "$entry" "$work/sysroot/lib/${entry#"$from"/lib/}" ;;
            esac
        done
        mv "$work/usr/src/rustc-$version/library" "$work/sysroot/lib/rustlib/src/rust/library"
        basename "$deb" .deb >"$work/sysroot/lib/rustlib/src/rust/package"
        ln -s "$from/bin/cargo" "$work/sysroot/bin/cargo"
        # The compiler finds its sysroot by where it lies itself, unless it is told.
        printf '#!/bin/sh\nexec %q --sysroot %q "$@"\n' "$from/bin/rustc" "$sysroot" >"$work/sysroot/bin/rustc"
        chmod 755 "$work/sysroot/bin/rustc" "$work/sysroot"
        rm -rf "$sysroot"
        mv -T "$work/sysroot" "$sysroot" 2>/dev/null || true
    fi
    rm -rf "$work"
    [ "$(rust_version "$sysroot/bin/rustc")" = "$version" ]
}

# library_fetch MIRROR VERSION DIR: downloads the package through an apt of its own, whose lists and sources are in DIR.
# Prints the path of the .deb.
library_fetch() {
    local mirror=$1 version=$2 dir=$3 package
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    printf 'deb %s %s main\n' "$mirror" "$JOS_LIBRARY_SUITE" >"$dir/sources.list"
    local apt=(-q -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$dir/lists"
        -o "Dir::Cache=$dir/cache" -o APT::Get::List-Cleanup=0 -o Acquire::Retries=3 -o Acquire::http::Timeout=20)
    timeout 120 apt-get "${apt[@]}" update >&2 || return 1
    package=$(apt-cache "${apt[@]}" madison rust-src 2>/dev/null | awk -v v="$version+" 'index($3, v) == 1 { print $3; exit }')
    [ -n "$package" ] || return 1
    (cd "$dir" && timeout 300 apt-get "${apt[@]}" download "rust-src=$package" >&2) || return 1
    find "$dir" -maxdepth 1 -name 'rust-src_*.deb' -print -quit
}
