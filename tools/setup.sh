#!/usr/bin/env bash
# Installs what the demo, or the tests, need beyond Rust: the Arm emulator, a C compiler, and the cross
# targets or, where rustup cannot fetch them, Debian's compiler with its core library's sources.
#
#   tools/setup.sh [demo|test]
#
# Without a word all of it, which is what the tests need. Sourced by demo.sh and test.sh.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
        echo "setup: please install by hand, as root: $*" >&2
        return 1
    fi
}

apt_updated=
apt_install() {
    have apt-get || { echo "setup: please install: $*" >&2; return 1; }
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq || true
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Programs that are missing: packages of Debian, and a line each for who has no apt-get.
picovit_packages=
picovit_missing=
# need PROGRAM DEBIAN ELSEWHERE
need() {
    have "$1" && return
    picovit_packages="$picovit_packages $2"
    picovit_missing="$picovit_missing
  $1 ($3)"
}

install_missing() {
    [ -n "$picovit_missing" ] || return 0
    if have apt-get; then
        # shellcheck disable=SC2086
        apt_install $picovit_packages
    else
        echo "setup: these programs are missing, please install them:$picovit_missing" >&2
        return 1
    fi
}

# Whether a compiler has the sources of its core library.
has_sources() { [ -f "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/Cargo.lock" ]; }

install_targets() {
    local said
    if have rustup; then
        said=$(rustup target add "$@" 2>&1 >/dev/null) && return
        printf '%s\n' "$said" "setup: rustup target add failed, see above" >&2
    fi
    # Compiled from source instead, by a compiler whose sources are at hand.
    if ! has_sources rustc && ! has_sources /usr/bin/rustc; then
        have apt-get || {
            echo "setup: without these targets of rustup's (https://rustup.rs) nothing is built for chips: $*" >&2
            return 1
        }
        echo "setup: building for chips takes Debian's compiler and its sources instead" >&2
        apt_install rustc-web cargo-web rust-web-src
    fi
    # The compiler from rustup brings a linker for chips and for WebAssembly, Debian's does not.
    ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld >/dev/null 2>&1 ||
        have rust-lld || have wasm-ld || apt_install lld
}

# setup demo|test
setup() {
    have cargo || { echo "setup: Rust is missing; install it from https://rustup.rs" >&2; return 1; }
    need cc "gcc libc6-dev" "Fedora: gcc; macOS: xcode-select --install"
    need qemu-system-arm qemu-system-arm "Fedora: qemu-system-arm; macOS: brew install qemu"
    if [ "$1" = demo ]; then
        install_missing
        install_targets thumbv7em-none-eabihf
        return
    fi
    need qemu-aarch64 qemu-user "Fedora: qemu-user; there is none for macOS"
    [ "$(uname -m)" = aarch64 ] ||
        need aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" "with the C library for aarch64"
    install_missing
    install_targets thumbv6m-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabihf \
        riscv32imc-unknown-none-elf aarch64-unknown-linux-gnu wasm32-unknown-unknown
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case ${1-test} in
        demo | test) setup "${1-test}" ;;
        *) echo "setup: $1 is neither demo nor test" >&2; exit 2 ;;
    esac
fi
