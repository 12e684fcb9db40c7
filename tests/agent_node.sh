#!/bin/bash
# Boots layer 0 with the agent as process 1 in QEMU, against a real parent: it joins, gets in step, fetches and runs the sample
# image, outlives its parent, replaces what ended, and leaves.
#
# Needs: qemu-system-x86, curl, squashfs-tools, cargo. BINARY names a static bootes binary; without it one is built.
# Leaves nothing behind but what cargo builds and target/. Exit code 0: every check held.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
qemu='' parent=''
finish() {
    for pid in $qemu $parent; do
        kill -9 "$pid" 2>/dev/null || true
        # So that the shell does not speak of it.
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
say() { printf 'agent_node: %s\n' "$*"; }
die() {
    say "FAILED: $*"
    tail -n 60 "$work/console" 2>/dev/null | tr -d '\r' | sed 's/^/  console: /'
    tail -n 60 "$work/facts" 2>/dev/null | sed 's/^/  fact: /'
    tail -n 20 "$work/log" 2>/dev/null | sed 's/^/  parent: /'
    exit 1
}
target=x86_64-unknown-linux-gnu
binary=${BINARY:-}
if [ -z "$binary" ]; then
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --target "$target" --bin bootes
    binary=${CARGO_TARGET_DIR:-target}/$target/release/bootes
fi
cargo build --quiet --example agent_parent
driver=${CARGO_TARGET_DIR:-target}/debug/examples/agent_parent
images/layer0/build --binary "$binary" --out "$work/layer0" 2>/dev/null
images/hello/build --out "$work/hello" 2>/dev/null

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo $((20000 + RANDOM % 20000)); }
agents=$(port) http=$(port) web=$(port)
token=00112233445566778899aabbccddeeff
mkdir "$work/state"
mkfifo "$work/orders"
exec 9<>"$work/orders"
start_parent() {
    "$driver" "$work/state" "127.0.0.1:$agents" "127.0.0.1:$http" 10.0.2.2 "$work/hello/hello.squashfs" "$@" \
        <"$work/orders" >>"$work/facts" 2>>"$work/log" &
    parent=$!
}
# seen PATTERN COUNT SECONDS: waits until so many facts match.
seen() {
    for _ in $(seq $(($3 * 5))); do
        [ "$(grep -cE "$1" "$work/facts" || true)" -ge "$2" ] && return 0
        sleep 0.2
    done
    die "not seen $2 times within $3 s: $1"
}
start_parent "$token"
seen '^node=' 1 30
ca=$(sed -n 's/^node=.* ca=//p' "$work/facts" | head -n 1)
node=$(sed -n 's/^node=\([^ ]*\) .*/\1/p' "$work/facts" | head -n 1)
qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 512 -nographic -nodefaults -no-reboot \
    -kernel "$work/layer0/vmlinuz" -initrd "$work/layer0/initramfs" \
    -append "console=ttyS0 quiet panic=-1 bootes.node=$node bootes.name=n17 bootes.mac=52:54:00:12:34:56 bootes.ip=10.0.2.15/24
 bootes.router=10.0.2.2 bootes.dns=10.0.2.3 bootes.parent=10.0.2.2:$agents bootes.ca=$ca bootes.token=$token bootes.http=10.0.2.2:$http bootes.log=debug" \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$web-10.0.2.15:80" \
    -device virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile= \
    -serial file:"$work/console" &
qemu=$!
seen 'agent joined' 1 120
seen 'done run.sync' 1 30
seen 'goal reached' 1 120
say 'ok: it joined, got in step and runs its image'
seen 'agent reports hardware: .*2 threads' 1 10
seen 'console: ' 1 10
page=$(curl -sf --max-time 20 "http://127.0.0.1:$web/cgi-bin/status" || curl -sf --max-time 20 "http://127.0.0.1:$web/") || die 'the image does not answer'
say "ok: the image answers over the network: $(printf '%s' "$page" | tr '\n' ' ' | cut -c1-120)"
seen "console: .*the agent's memory" 1 60
rss=$(sed -n "s/.*the agent's memory peak=\"\([0-9]*\) kB.*/\1/p" "$work/console" | head -n 1)
[ "${rss:-99999}" -lt 10240 ] || die "the agent's memory reached ${rss:-unknown} KiB; the bound is 10 MiB"
say "ok: the agent's memory reached $rss KiB"

kill -9 "$parent"; wait "$parent" 2>/dev/null || true
curl -sf --max-time 20 "http://127.0.0.1:$web/" >/dev/null || die 'the image does not answer without a parent'
sleep 7
curl -sf --max-time 20 "http://127.0.0.1:$web/" >/dev/null || die 'the image does not answer after the dead interval'
start_parent
seen 'agent connected' 2 60
seen 'goal reached' 2 60
[ "$(grep -c 'agent joined' "$work/facts")" = 1 ] || die 'it joined again'
[ "$(grep -c 'started image.activate' "$work/facts")" = 1 ] || die 'the image was started again'
say 'ok: it outlived its parent, and came back to it with its image untouched'

printf 'set image.hello.state idle\n' >&9
seen 'done image.deactivate hello' 1 60
! curl -sf --max-time 5 "http://127.0.0.1:$web/" >/dev/null || die 'the image still answers'
printf 'set image.hello.state -\n' >&9
seen 'done image.activate hello' 2 120
curl -sf --max-time 20 "http://127.0.0.1:$web/" >/dev/null || die 'the image does not answer again'
say 'ok: the image was stopped and started again'

printf 'set run init\n' >&9
seen 'agent left' 1 60
seen 'agent connected' 3 60
printf 'set run -\n' >&9
seen 'goal reached' 5 120
say 'ok: it left, asked again, and runs again'
! grep -q 'Kernel panic\|hit a defect' "$work/console" || die 'process 1 hit a defect'
! grep -q "$token" "$work/console" "$work/facts" "$work/log" || die 'the token was printed'
! grep -qE 'failed|Lost' <(grep -v 'agent lost' "$work/facts") || die 'something failed on the way'
grep -aE 'joined|session|an image|step is asked' "$work/console" | tr -d '\r' | sed 's/^/  /' | head -n 12
say 'all checks held'
