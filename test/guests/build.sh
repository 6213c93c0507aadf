#!/bin/sh
# Builds the guests that are named, or all: c, assemblyscript, rust, sdk, outside. README.md says
# which tools each needs and with which versions the committed modules were built.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

c() {
	clang --target=wasm32-wasi -mexec-model=reactor -D_GNU_SOURCE -Os -Wall -Werror \
		-Wl,--strip-all -o c/c.wasm c/guest.c
}

assemblyscript() {
	cp assemblyscript/* "$work"
	(cd "$work" && npm install --silent --no-package-lock)
	(cd "$work" && npx asc guest.ts -O --use abort=guest/stop --outFile guest.wasm)
	cp "$work/guest.wasm" assemblyscript/assemblyscript.wasm
}

# Debian's rustc has no library for WebAssembly: it is built from its source. No
# path of the machine may stay in the module.
rust() {
	(cd rust && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="$work/target" \
		RUSTFLAGS="-Zlocation-detail=none --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld \
		/usr/bin/cargo build --quiet --release --target wasm32-unknown-unknown -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
	rm -f rust/Cargo.lock
	cp "$work/target/wasm32-unknown-unknown/release/guest.wasm" rust/rust.wasm
}

# The real SDK of Rust capsules, for the target that it is made for.
with_sdk() {
	registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
	remap=
	for source in "$registry"/*; do
		remap="$remap --remap-path-prefix=$source=cargo"
	done
	(cd "$1" && CARGO_TARGET_DIR="$work/target" RUSTFLAGS="$remap --remap-path-prefix=$PWD=guest" \
		cargo build --quiet --release --lib --examples --target wasm32-wasip1)
	rm -f "$1/Cargo.lock"
	cp "$work/target/wasm32-wasip1/release/guest.wasm" "$1/$1.wasm"
}
sdk() {
	with_sdk sdk
	cp "$work/target/wasm32-wasip1/release/examples/loop.wasm" sdk/loop.wasm
}
outside() { with_sdk outside; }

[ $# -gt 0 ] || set -- c assemblyscript rust sdk outside
for guest; do
	"$guest"
	chmod 644 "$guest"/*.wasm
	ls -l "$guest"/*.wasm
done
