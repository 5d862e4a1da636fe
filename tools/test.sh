#!/usr/bin/env bash
# Sets up and runs every test: formatting, lints, documentation, the workspace, the firmware.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/setup.sh
setup test
# It looks at the Raspberry Pi's web page; the test says so where it cannot.
have chromium || have chromium-browser || have google-chrome || apt_install chromium ||
    echo "test: Chromium is not to be had: nothing looks at the web page" >&2

# The smallest installations of Rust have neither.
for component in rustfmt clippy; do
    command=${component/rustfmt/fmt}
    cargo "$command" --version >/dev/null 2>&1 || { have rustup && rustup component add "$component"; } || {
        echo "test: cargo $command is missing: rustup component add $component" >&2
        exit 1
    }
done

step() { printf '\n== %s\n' "$*"; }

step "formatting"
cargo fmt --all --check
cargo fmt --all --check --manifest-path firmware/Cargo.toml

step "lints"
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
cargo clippy --quiet --locked --manifest-path firmware/Cargo.toml --all-targets -- -D warnings
# Boards build for their chip only, and only a compiler with its library can be asked.
lint_board() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$2" ] || return 0
    cargo clippy --quiet --locked --manifest-path firmware/Cargo.toml --package "$1" --target "$2" \
        -- -D warnings
}
lint_board picovit-pico2 thumbv8m.main-none-eabihf
lint_board picovit-stm32h7 thumbv7em-none-eabihf

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps

step "tests"
# All that fails at once, so that one run is enough to know it.
failed=
cargo test --locked --workspace --no-fail-fast || failed="$failed workspace"
cargo test --locked --no-fail-fast --manifest-path firmware/Cargo.toml || failed="$failed firmware"
if [ -n "$failed" ]; then
    step "tests failed:$failed"
    exit 1
fi

step "all tests passed"
