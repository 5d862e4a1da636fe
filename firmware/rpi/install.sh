#!/bin/sh
# Installs picovit-camera on a Raspberry Pi and starts it with the system; may be run again at any time.
#
#   ./install.sh [--model model.pvit] [--binary picovit-camera] [--no-start]
#   ./install.sh --uninstall
#
# Files are looked for beside this script. DESTDIR installs into another root and touches no service.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$here/picovit-camera
model=$here/model.pvit
unit=$here/picovit-camera.service
guide=$here/raspberry-pi.md
start=yes
remove=no
root=${DESTDIR-}

bin=$root/usr/local/bin/picovit-camera
share=$root/usr/local/share/picovit-camera
doc=$root/usr/local/share/doc/picovit-camera
service=$root/etc/systemd/system/picovit-camera.service
settings=$root/etc/picovit-camera.conf

fail() {
    echo "install: $1" >&2
    exit 1
}

usage() {
    sed -n 's/^# \{0,1\}//; 2,7p' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
        --model | --binary)
            [ $# -gt 1 ] || fail "$1 needs a file"
            [ "$1" = --model ] && model=$2 || binary=$2
            shift
            ;;
        --no-start) start=no ;;
        --uninstall) remove=yes ;;
        -h | --help)
            usage
            exit
            ;;
        *) fail "there is no option $1; see --help" ;;
    esac
    shift
done

# Root is asked for where it is needed, and only there. A password is asked for on a terminal.
as_root() {
    if [ -n "$root" ] || [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo -n true 2>/dev/null || (: </dev/tty) 2>/dev/null ||
            fail "sudo asks for a password and there is no terminal: run it in one, over the network as \`ssh -t pi@raspberrypi.local ./install.sh\`"
        sudo "$@"
    else
        fail "run this as root: there is no sudo"
    fi
}

services() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

if [ "$remove" = yes ]; then
    if services && [ -e "$service" ]; then
        as_root systemctl disable --now picovit-camera.service
    fi
    as_root rm -rf "$bin" "$share" "$doc" "$service" "$settings"
    if services; then as_root systemctl daemon-reload; fi
    echo "picovit-camera is removed"
    exit
fi

machine=${PICOVIT_MACHINE:-$(uname -m)}
# A kernel of 64 bits may have a system of 32, whose service manager lets no other programs make system calls.
bits=$(getconf LONG_BIT 2>/dev/null || echo 64)
[ "$machine" = aarch64 ] && [ "$bits" = 64 ] ||
    fail "this is a system of $bits bits on $machine; picovit-camera needs 64 bits on aarch64: Raspberry Pi OS (64-bit)"
[ -f "$binary" ] || fail "$binary is missing: build it with \`cargo firmware rpi\`, or name it with --binary FILE"
[ -f "$model" ] || fail "$model is missing: make it with \`cargo tools quantize best.mpk --target aarch64 --out model.pvit\` (before the Raspberry Pi 5 --target cortex-a53), or name it with --model FILE"
[ -f "$unit" ] || fail "$unit is missing: copy it from firmware/rpi"
# Bytes 19 and 20 of a program say what it is for: 183 is AArch64.
[ "$(od -An -tu1 -j18 -N2 "$binary" | tr -s ' ')" = " 183 0" ] ||
    fail "$binary is no program for aarch64: build it with \`cargo firmware rpi\`"
[ "$(head -c 4 "$model")" = PVIT ] || fail "$model is no picovit artifact"

as_root install -D -m 755 "$binary" "$bin"
as_root install -D -m 644 "$model" "$share/model.pvit"
as_root install -D -m 644 "$unit" "$service"
if [ -f "$guide" ]; then as_root install -D -m 644 "$guide" "$doc/raspberry-pi.md"; fi
# Settings of an earlier installation stay.
if [ ! -e "$settings" ]; then
    printf '%s\n' \
        '# Arguments of picovit-camera; see picovit-camera --help. After a change:' \
        '# sudo systemctl restart picovit-camera' \
        'PICOVIT_ARGS=--source rpicam --output web --listen 127.0.0.1:8080' |
        as_root tee "$settings" >/dev/null
    as_root chmod 644 "$settings"
fi

command -v rpicam-vid >/dev/null 2>&1 || command -v libcamera-vid >/dev/null 2>&1 || [ -n "$root" ] ||
    echo "note: the camera's program is missing: sudo apt install rpicam-apps"

if services; then
    as_root systemctl daemon-reload
    if [ "$start" = yes ]; then
        as_root systemctl enable picovit-camera.service
        as_root systemctl restart picovit-camera.service
        # What is wrong with the camera or the arguments shows soon.
        sleep 2
        systemctl is-active --quiet picovit-camera.service ||
            fail "picovit-camera is installed but does not run, and tries again every 5 seconds: journalctl -u picovit-camera says why"
        echo "picovit-camera runs: systemctl status picovit-camera; journalctl -u picovit-camera"
    fi
fi
echo "picovit-camera is installed; its arguments are in $settings"
