//! libFuzzer's loop around one part: `FUZZ_TARGET` names it. `make fuzz` runs them one after the other.

#![no_main]

#[path = "../../tests/shared/targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<&'static targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    targets::TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| {
            let names: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
            panic!("set FUZZ_TARGET to one of {}", names.join(", "))
        })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
