#!/bin/bash
# Boots the low-level half of the agent as process 1 of a real kernel in QEMU, and reads its console.
#
# Needs: qemu-system-x86, kmod, cpio, zstd, socat, jq, cargo; apt-get for the kernel, unless KERNEL_DEB names the package's file.
# Leaves nothing behind but what cargo builds, and the kernel package in target/. Exit code 0: every check held.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu
# A second suite, or a second run, must not share a build or a socket with this one.
work=$(mktemp -d)
qemu=
finish() { [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT

say() { printf 'agent_boot: %s\n' "$*"; }
die() { say "FAILED: $*"; sed 's/^/  console: /' "$work/console" 2>/dev/null | tail -n "${SHOWN:-60}"; exit 1; }
for program in qemu-system-x86_64 depmod cpio zstd socat jq cargo; do
    command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || die "$program is missing; install it"
done
PATH=$PATH:/usr/sbin:/sbin

target_dir=${CARGO_TARGET_DIR:-target}
RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --target "$target" --example agent_boot
binary=$target_dir/$target/release/examples/agent_boot

deb=${KERNEL_DEB:-}
if [ -z "$deb" ]; then
    mkdir -p target/kernel
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    deb=$(find target/kernel -name "${package}_*.deb" | head -n 1)
    if [ -z "$deb" ]; then
        (cd target/kernel && apt-get -qq download "$package") || die "the kernel package could not be fetched; set KERNEL_DEB to its file"
        deb=$(find target/kernel -name "${package}_*.deb" | head -n 1)
    fi
fi
dpkg -x "$deb" "$work/kernel"
release=$(basename "$work"/kernel/lib/modules/*)

# The initramfs: the binary, the modules that it loads with what they need, and the index.
tree=$work/tree
modules=$work/kernel/lib/modules/$release
mkdir -p "$tree/lib/modules/$release"
cp "$binary" "$tree/init"
depmod -b "$work/kernel" "$release"
wanted=(virtio_net virtio_pci virtio_blk overlay squashfs erofs loop vfat virtio_balloon)
for module in "${wanted[@]}"; do
    line=$(grep -E "(^|/)$module\.ko:" "$modules/modules.dep") || continue
    for file in ${line/:/}; do
        install -D -m 644 "$modules/$file" "$tree/lib/modules/$release/$file"
    done
done
cp "$modules/modules.builtin" "$modules/modules.order" "$tree/lib/modules/$release/"
cp "$modules/modules.builtin.modinfo" "$tree/lib/modules/$release/"
depmod -b "$tree" "$release"
rm "$tree/lib/modules/$release/modules.builtin.modinfo"
(cd "$tree" && find . -print0 | cpio --null --create --format=newc --quiet) | zstd -q -9 >"$work/initrd"
say "initramfs $(stat -c %s "$work/initrd") bytes, binary $(stat -c %s "$binary") bytes, kernel $release"

truncate -s 1G "$work/disk"
arguments="console=ttyS0 quiet panic=-1 bootes.node=6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11 bootes.name=n17.example
 bootes.mac=52:54:00:12:34:56 bootes.ip=10.0.2.15/24 bootes.router=10.0.2.2 bootes.dns=10.0.2.3
 bootes.parent=10.0.2.2:7443 bootes.ca=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
 bootes.token=5ec2e75ec2e75ec2e75ec2e75ec2e7aa bootes.http=10.0.2.2:8080 bootes.log=debug bootes.colour=blue"
# shellcheck disable=SC2086
boot() { # boot ARGUMENTS EXTRA…
    local append; append=$(echo $1); shift
    : >"$work/console"; rm -f "$work/monitor"
    qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 256 -nographic -nodefaults -no-reboot \
        -kernel "$work/kernel/boot/vmlinuz-$release" -initrd "$work/initrd" -append "$append" \
        -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile= \
        -drive if=none,id=disk,format=raw,file="$work/disk" -device virtio-blk-pci,drive=disk,serial=disk-17 \
        -device pcie-root-port,id=slot0,chassis=1 \
        -smbios type=1,manufacturer=Bootes,product=Testbed,serial=SN17,uuid=6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11 \
        -serial file:"$work/console" -monitor unix:"$work/monitor",server=on,wait=off "$@" &
    qemu=$!
}
await() { # await PATTERN SECONDS
    for _ in $(seq "$(($2 * 5))"); do
        grep -qE "$1" "$work/console" && return 0
        kill -0 "$qemu" 2>/dev/null || { grep -qE "$1" "$work/console" && return 0; die "the machine ended before: $1"; }
        sleep 0.2
    done
    die "not seen within $2 s: $1"
}
holds() { grep -qE "$1" "$work/console" || die "the console lacks: $1"; say "ok: ${2:-$1}"; }
lacks() { ! grep -qE "$1" "$work/console" || die "the console has: $1"; say "ok: $2"; }

boot "$arguments"
await '^probe: ready' 120

holds 'bootes: pid 1 started uptime=[0-9.]+' 'the first line is said'
[ "$(grep -c 'bootes: pid 1 started' "$work/console")" = 1 ] || die "the first line is not said once"
holds 'root=Moved' 'the initial root was left'
for module in virtio_net virtio_blk virtio_pci overlay squashfs erofs loop net_failover; do
    holds "^probe: modules=.*\b$module\b" "$module is loaded"
done
holds '^probe: interface=eth0 52:54:00:12:34:56 10.0.2.15/24' 'the interface is up'
holds '/proc/net/fib_trie:.*10\.0\.2\.15' 'the kernel has the address'
holds '/proc/net/route: eth0.*0202000A' 'the kernel has the default route'
holds '/etc/resolv.conf: nameserver 10.0.2.3' 'the resolver is told'
holds 'hostname: n17.example' 'the host has its name'
holds '/proc/mounts: cgroup2? /sys/fs/cgroup' 'control groups are mounted'
sed -n 's/^probe: hardware=//p' "$work/console" | tr -d '\r' >"$work/hardware"
jq -e '.system == {"vendor":"Bootes","product":"Testbed","version":"pc-q35-7.2","serial":"SN17","uuid":"6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11"}
    or (.system | .vendor == "Bootes" and .serial == "SN17" and .uuid == "6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11")' "$work/hardware" >/dev/null || die 'SMBIOS'
jq -e '.architecture == "x86_64" and .firmware == "bios" and (.kernel | startswith("6.")) and .processor.threads == 2
    and .memory_bytes > 150000000 and .memory_bytes < 268435456' "$work/hardware" >/dev/null || die 'processor and memory'
jq -e '.disks | length == 1 and .[0].name == "vda" and .[0].size_bytes == 1073741824 and .[0].serial == "disk-17"' "$work/hardware" >/dev/null || die 'disks'
jq -e '.interfaces | length == 1 and .[0].mac == "52:54:00:12:34:56" and .[0].driver == "virtio_net"
    and .[0].carrier == "present" and (.[0].pci_address | startswith("0000:00:"))' "$work/hardware" >/dev/null || die 'interfaces'
say "ok: the hardware is reported: $(jq -c . "$work/hardware")"
holds '^probe: children=20 each with exit code 7' 'every child reports its own end'
holds "^probe: orphans' parent: exit code 0" 'a parent leaves its orphans'
holds '^probe: orphans=5 zombies=0' 'orphans are reaped'
holds '^probe: pivot_root: exit code 42' 'pivot_root works'
holds '^probe: vfat before=false after=true' 'the kernel is helped to a module that it asks for'
holds 'WARN .*argument="?bootes.colour' 'an unknown argument is reported'
holds '^probe: forwarded=[1-9][0-9]* dropped=0' 'lines are kept for forwarding'
lacks '5ec2e75ec2' 'the token is not printed'
echo 'device_add virtio-balloon-pci,bus=slot0,id=late' | socat - "unix-connect:$work/monitor" >/dev/null || die 'the monitor does not answer'
await '^probe: hotplugged' 60
say 'ok: a device that is plugged in gets its driver'
await '^probe: request=Restart' 60
say 'ok: SIGTERM is a request'
for _ in $(seq 50); do kill -0 "$qemu" 2>/dev/null || break; sleep 0.2; done
! kill -0 "$qemu" 2>/dev/null || die 'the power is not off'
say 'ok: the power goes off'
lacks 'Kernel panic|Attempted to kill init' 'process 1 never exits'
grep -aE 'pid 1 started|network is up|step of start-up|drivers are loaded|probe: (uptime|VmRSS|VmHWM|Rss|Threads)' "$work/console" | tr -d '\r' | sed 's/^/  /'
rss=$(sed -n 's/^probe: VmHWM: \([0-9]*\) kB.*/\1/p' "$work/console")
[ "$rss" -lt 10240 ] || die "the agent's memory reached $rss KiB; the bound is 10 MiB"
say "ok: the agent's memory reached $rss KiB"

# A machine that cannot start says why, and restarts after a pause; its kernel does not panic.
boot "${arguments/bootes.ip=10.0.2.15\/24/bootes.ip=10.0.2.15}"
await 'start-up failed at the step .arguments.*bootes.ip=.10.0.2.15., which is not an address' 60
await 'this machine restarts in' 10
say 'ok: a bad argument is named, with its value'
for _ in $(seq 250); do kill -0 "$qemu" 2>/dev/null || break; sleep 0.2; done
! kill -0 "$qemu" 2>/dev/null || die 'the machine does not restart after its last words'
lacks 'Kernel panic' 'the machine restarts after its last words'

# A defect in process 1 is written down, and is not the kernel's end.
boot "${arguments/bootes.name=n17.example/bootes.name=panic}"
await 'process 1 hit a defect: .*this machine restarts in' 60
sleep 2
kill -0 "$qemu" 2>/dev/null || die 'the machine did not wait after a panic'
lacks 'Kernel panic' 'a panic is written down, and the machine waits'
kill -9 "$qemu"; wait "$qemu" 2>/dev/null || true

# What the move out of the initial root is for: without it, the same call is refused. The kernel hands words that it does
# not know to process 1 as its environment, which is how this boot claims that the move was done.
boot "$arguments BOOTES_ROOT=moved"
await '^probe: pivot_root:' 60
holds 'EINVAL' 'the kernel refuses the initial root'
lacks 'pivot_root: exit code 42' 'pivot_root does not work on the initial root'
kill -9 "$qemu"; wait "$qemu" 2>/dev/null || true
say 'all checks held'
