# shellcheck shell=bash
# The same amd64 image by jos-image, by mkosi, and by mmdebstrap with genimage: from nothing, and again after a change of the
# appliance. The same Debian packages by name, the same appliance in them, a disk with a boot partition and an ext4 root.
# Sourced by scripts/bench. Each downloads its packages itself; a tool that cannot be had, or fails here, is left out and named.

# lap COMMAND…: its wall and CPU time in seconds, on standard output; what it says goes to $image_log.
lap() {
    local TIMEFORMAT='%R %U %S' taken
    taken=$({ time "$@" >>"$image_log" 2>&1 </dev/null; } 2>&1) || return 1
    awk '{ printf "%.1f s wall, %.1f s CPU\n", $1, $2 + $3 }' <<<"$taken"
}

# image_profile DIR: the appliance, as one of a vendor's.
image_profile() {
    mkdir -p "$1/box"
    cat >"$1/box.toml" <<'TOML'
extends = "base/debian"
[brand]
vendor = "Bench"
product = "Box"
[package]
name = "bench-box"
version = "1.0.0"
maintainer = "Bench <bench@example.org>"
[target]
targets = ["debian/amd64"]
[state]
baseline = "box/baseline.toml"
[policy.grants.baseline]
files = ["/etc/box", "/etc/box/*"]
[image]
boards = ["amd64-uefi"]
kernel = "linux-image-cloud-amd64"
TOML
    cat >"$1/box/baseline.toml" <<'TOML'
kind = "jos.agent.desired_state"
[meta]
name = "bench-box"
version = 1
[[spec.apply]]
type = "directory"
path = "/etc/box"
[[spec.apply]]
type = "file"
path = "/etc/box/greeting"
content = "hello 0\n"
TOML
}

# image_change N: another greeting, in our profile and in the tree that the others are given.
image_change() {
    sed -i "s/^content = .*/content = \"hello $1\\\\n\"/" "$image_dir/box/baseline.toml"
    if [ -d "$image_dir/extra" ]; then
        mkdir -p "$image_dir/extra/etc/box"
        printf 'hello %s\n' "$1" >"$image_dir/extra/etc/box/greeting"
    fi
}

by_jos() {
    (cd "$image_dir" && jos-image build box.toml --dev-key --out jos "${image_builder[@]}")
}

by_mkosi() {
    (cd "$image_dir/mkosi" && mkosi --force "$@" build)
}

# Packages once, as long as their list is the same; then the tree, the appliance and the disk.
by_genimage() {
    local at=$image_dir/genimage
    if [ ! -e "$at/base.tar" ]; then
        # shellcheck disable=SC2016  # for the shell that the hook is given to
        mmdebstrap --variant=minbase --format=tar --include="$image_packages" \
            --customize-hook='update-initramfs -u -k all -b "$1/boot" >/dev/null 2>&1 || true' bookworm "$at/base.tar.new" || return 1
        mv "$at/base.tar.new" "$at/base.tar"
    fi
    rm -rf "$at"/{root,input,tmp,out}
    mkdir -p "$at"/{root,input,out}
    tar -xf "$at/base.tar" -C "$at/root" --exclude='./dev/*'
    cp -a "$image_dir/extra/." "$at/root/"
    cp "$(find "$at/root/boot" -name 'vmlinuz-*' | sort | tail -n1)" "$at/input/vmlinuz"
    cp "$(find "$at/root/boot" -name 'initrd.img-*' | sort | tail -n1)" "$at/input/initrd.img"
    cp "$at/root/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$at/input/BOOTX64.EFI"
    printf 'title box\nlinux /vmlinuz\ninitrd /initrd.img\noptions root=LABEL=root ro\n' >"$at/input/box.conf"
    genimage --config "$at/genimage.cfg" --rootpath "$at/root" --inputpath "$at/input" --tmppath "$at/tmp" --outputpath "$at/out"
}

genimage_config() {
    mkdir -p "$image_dir/genimage"
    cat >"$image_dir/genimage/genimage.cfg" <<'CFG'
image boot.vfat {
    vfat {
        file EFI/BOOT/BOOTX64.EFI { image = "BOOTX64.EFI" }
        file loader/entries/box.conf { image = "box.conf" }
        file vmlinuz { image = "vmlinuz" }
        file initrd.img { image = "initrd.img" }
    }
    size = 256M
}
image root.ext4 {
    ext4 {
        label = "root"
        use-mke2fs = true
    }
    size = 1500M
}
image disk.img {
    hdimage { partition-table-type = "gpt" }
    partition boot { image = "boot.vfat" partition-type-uuid = "U" }
    partition root { image = "root.ext4" partition-type-uuid = "L" }
}
CFG
}

# mkosi_config BOOTABLE
mkosi_config() {
    mkdir -p "$image_dir/mkosi"
    cat >"$image_dir/mkosi/mkosi.default" <<CFG
[Distribution]
Distribution=debian
Release=bookworm
[Output]
Format=gpt_ext4
Bootable=$1
Output=disk.img
[Partitions]
RootSize=1500M
ESPSize=256M
[Packages]
Packages=${image_packages//,/$'\n        '}
ExtraTrees=$image_dir/extra
[Host]
NspawnKeepUnit=yes
CFG
}

# image_again WHAT COMMAND…: three times, each after another change; the middle one by wall time.
image_again() {
    local what=$1 all=()
    shift
    for _ in 1 2 3; do
        image_count=$((image_count + 1))
        image_change "$image_count"
        all+=("$(lap "$@")") || return 1
    done
    row "$what, again after a change (median of 3)" "$(printf '%s\n' "${all[@]}" | sort -n | sed -n 2p)"
}

# images_beside DIR: rows of a Markdown table. $JOS_DEVICE_PROGRAMS names programs that are compiled already.
images_beside() {
    local first ours beside=()
    image_dir=$1/image image_log=$1/image.log image_count=0 image_builder=()
    [ -z "${JOS_DEVICE_PROGRAMS:-}" ] || image_builder=(--builder "prebuilt=$JOS_DEVICE_PROGRAMS")
    mkdir -p "$image_dir"
    image_profile "$image_dir"
    # The program is compiled, or found, before anything is timed; no image is made for it.
    sed 's/^\[image\]$/[unused]/; /^boards/d; /^kernel/d; /^\[unused\]$/d' "$image_dir/box.toml" >"$image_dir/plain.toml"
    (cd "$image_dir" && jos-image build plain.toml --dev-key --out plain "${image_builder[@]}") >>"$image_log" 2>&1 \
        || die "the appliance does not build" "$(tail -n 5 "$image_log")"
    ours=$(find "$image_dir/plain" -name '*.deb')
    # A cache without bases, and with the programs of the other.
    mkdir -p "$image_dir/cache"
    ln -sfn "$JOS_CACHE/programs" "$image_dir/cache/programs"
    [ ! -e "$JOS_CACHE/dev.key" ] || cp -p "$JOS_CACHE/dev.key" "$image_dir/cache/dev.key"
    export JOS_CACHE=$image_dir/cache
    first=$(lap by_jos) || die "jos-image made no image" "$(tail -n 5 "$image_log")"
    row "\`jos-image build\`, one amd64 image from nothing" "$first"
    image_packages=$(python3 - "$image_dir/jos/box/sbom.cdx.json" <<'PY'
import json, sys
bill = json.load(open(sys.argv[1]))
names = {c["name"] for c in bill["components"] if c.get("purl", "").startswith("pkg:deb/")}
print(",".join(sorted(names)))
PY
    )
    [ -n "$image_packages" ] || die "the bill of materials lists no Debian package"
    mkdir -p "$image_dir/extra"
    dpkg-deb -x "$ours" "$image_dir/extra"
    image_change 0
    if have mkosi; then
        local without=''
        mkosi_config yes
        if ! first=$(lap by_mkosi --incremental); then
            # It mounts its boot partition, which takes a kernel that knows FAT.
            without=' without a boot partition, as it makes none here'
            rm -rf "$image_dir/mkosi"
            mkosi_config no
            first=$(lap by_mkosi --incremental) || first=
        fi
        if [ -n "$first" ]; then
            row "mkosi $(mkosi --version | grep -o '[0-9.]*$') \`--incremental\`$without, the same from nothing" "$first"
            beside+=(mkosi)
        else
            warn "mkosi fails here, and is not measured: $(tail -n 2 "$image_log" | tr '\n' ' ')"
        fi
    else
        warn "mkosi cannot be had, and is not measured"
    fi
    if have genimage && have mmdebstrap; then
        genimage_config
        # genimage needs the kernel's initial RAM disk and loader from the packages; ours has made its own.
        image_packages=$image_packages,initramfs-tools,systemd-boot-efi
        if first=$(lap by_genimage); then
            row "mmdebstrap, then genimage $(genimage --version 2>&1 | grep -o '[0-9.]*$'), the same from nothing" "$first"
            beside+=(genimage)
        else
            warn "genimage fails here, and is not measured: $(tail -n 2 "$image_log" | tr '\n' ' ')"
        fi
    else
        warn "genimage cannot be had, and is not measured"
    fi
    image_again "\`jos-image build\`" by_jos
    [[ " ${beside[*]} " != *" mkosi "* ]] || image_again "mkosi \`--incremental\`" by_mkosi --incremental
    [[ " ${beside[*]} " != *" genimage "* ]] || image_again "tar of mmdebstrap's root kept, then genimage" by_genimage
    # Read as each left it: no one of them may have made nothing.
    find "$image_dir" -name '*.img' -size +100M -exec sh -c 'printf "%s: %s\n" "$1" "$(file -b "$1" | cut -c1-60)"' _ {} \; >&2
}
