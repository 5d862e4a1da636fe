#!/usr/bin/env bash
# Installs what the demo and the tests need beyond Rust: the Arm emulator, and the cross targets or,
# where rustup cannot fetch them, Debian's compiler with its core library's sources.
# Sourced by demo.sh and test.sh; also runs by itself.
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

picovit_targets="thumbv6m-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabihf riscv32imc-unknown-none-elf aarch64-unknown-linux-gnu wasm32-unknown-unknown"

install_targets() {
    if have rustup; then
        # shellcheck disable=SC2086
        rustup target add $picovit_targets >/dev/null 2>&1 && return 0
    fi
    # Compiled from source instead, by a compiler whose sources are at hand.
    if [ ! -x /usr/bin/rustc ] || [ ! -d /usr/lib/rustlib/src/rust/library ] &&
        [ ! -d "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ]; then
        apt_install rustc-web cargo-web rust-web-src
    fi
    # The compiler from rustup brings the linker for WebAssembly, Debian's does not.
    ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld >/dev/null 2>&1 ||
        have rust-lld || have wasm-ld || apt_install lld
}

setup() {
    have cargo || { echo "setup: Rust is missing; install it from https://rustup.rs" >&2; return 1; }
    have cc || apt_install gcc libc6-dev
    have qemu-system-arm || apt_install qemu-system-arm
    have arm-none-eabi-ld || apt_install binutils-arm-none-eabi
    have qemu-aarch64 || apt_install qemu-user
    have aarch64-linux-gnu-gcc || [ "$(uname -m)" = aarch64 ] ||
        apt_install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    install_targets
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then setup; fi
